// Imports run one way: core decides, io touches, apps assemble. The order of the core folders is written down here once.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { importsOf, isTest, sources } from './sources.ts'

const GROUND = ['base', 'net', 'selector', 'resources']

/** What each folder of core may import besides itself. A new folder gets its place here. */
const CORE: Readonly<Record<string, readonly string[]>> = {
  base: [],
  net: ['base'],
  selector: ['base'],
  resources: ['base', 'net', 'selector'],
  // The oracle judges the compiler: it must not know it.
  oracle: GROUND,
  explain: [...GROUND, 'oracle'],
  ipam: GROUND,
  kubernetes: [...GROUND, 'ipam'],
  bird: GROUND,
  node: GROUND,
  install: [...GROUND, 'kubernetes'],
  cni: GROUND,
  policy: GROUND,
  calc: [...GROUND, 'policy'],
  classify: [...GROUND, 'policy', 'calc'],
  // The proof reads back what the writer wrote: it must share no code with it.
  proof: [...GROUND, 'policy', 'calc'],
  netlink: ['base', 'net'],
  nft: ['base', 'net', 'netlink'],
  render: [...GROUND, 'policy', 'calc', 'classify', 'netlink', 'nft'],
}

const all = sources(['src'], ['.ts', '.mjs']).filter(source => !isTest(source))
const edges = all.flatMap(source => importsOf(source).map(to => ({ from: source.path, to })))
const crossing = (isWrong: (from: string, to: string) => boolean): string[] =>
  edges.filter(({ from, to }) => isWrong(from, to)).map(({ from, to }) => `${from} imports ${to}`)

const part = (path: string, depth: number): string => path.split('/')[depth] ?? ''

describe('imports', () => {
  it('are seen at all', () => {
    assert.ok(edges.length > all.length, `${edges.length} imports in ${all.length} files`)
    const text = `import a, { type B } from './b.ts'\n// import x from './not.ts'\nexport * from "node:fs"\nawait import('../c.ts')\nimport './d.ts'`
    assert.deepEqual(importsOf({ path: 'src/x/y.ts', text }), ['src/x/b.ts', 'node:fs', 'src/c.ts', 'src/x/d.ts'])
  })

  it('between the folders of core go one way', () => {
    const folders = new Set(all.filter(({ path }) => path.startsWith('src/core/')).map(({ path }) => part(path, 2)))
    assert.deepEqual(
      [...folders].filter(folder => CORE[folder] === undefined),
      [],
      'folders without a place in the order',
    )
    const wrong = crossing((from, to) => {
      if (!from.startsWith('src/core/') || !to.startsWith('src/core/')) return false
      const [own, other] = [part(from, 2), part(to, 2)]
      return own !== other && !CORE[own]?.includes(other)
    })
    assert.deepEqual(wrong, [])
  })

  it('of core stay in core, and name no Node module', () => {
    const pure = /^(zod|@noble\/hashes\/.*)$/
    const wrong = crossing((from, to) => from.startsWith('src/core/') && !to.startsWith('src/core/') && !pure.test(to))
    assert.deepEqual(wrong, [])
  })

  it('of io do not reach the apps', () => {
    assert.deepEqual(
      crossing((from, to) => from.startsWith('src/io/') && to.startsWith('src/apps/')),
      [],
    )
  })

  it('of an app do not reach another app', () => {
    const wrong = crossing(
      (from, to) => from.startsWith('src/apps/') && to.startsWith('src/apps/') && part(from, 2) !== part(to, 2),
    )
    assert.deepEqual(wrong, [])
  })

  it('of the oracle know nothing of the compiler', () => {
    const compiler = ['policy', 'calc', 'classify', 'render', 'nft']
    const wrong = crossing(
      (from, to) => from.startsWith('src/core/oracle/') && to.startsWith('src/core/') && compiler.includes(part(to, 2)),
    )
    assert.deepEqual(wrong, [])
  })

  it('of the product do not reach tests, benchmarks or scripts', () => {
    assert.deepEqual(
      crossing((_, to) => /^(test|bench|scripts)\//.test(to)),
      [],
    )
  })

  it('are of packages that package.json names', async () => {
    const manifest = (await import('../../package.json', { with: { type: 'json' } })).default
    const wrong = crossing((_, to) => {
      if (to.startsWith('node:') || to.startsWith('src/')) return false
      const name = to
        .split('/')
        .slice(0, to.startsWith('@') ? 2 : 1)
        .join('/')
      return !Object.hasOwn(manifest.dependencies, name)
    })
    assert.deepEqual(wrong, [])
  })
})
