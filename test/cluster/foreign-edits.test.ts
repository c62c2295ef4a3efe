// Somebody edits our table by hand: every edit is named in words, with who did it, and put right within a second. And where
// the table is ours alone, the kernel refuses the edit in the first place.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { agentSocket, readText } from '../../src/apps/lab/cluster.ts'
import { example } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { difference } from '../../src/apps/lab/matrix.ts'
import { names } from '../../src/apps/lab/plan.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'

const PREFIX = `ge${process.pid}`
const RUN = `/run/gingham-edits-${process.pid}`
const NODE = 'node-a'
let lab: Lab

before(async () => {
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, new Steps(() => {}, plain), ['--no-own-table'])
  await lab.build()
  await lab.use('create', example('allow-backend-to-frontend.yaml'))
})
after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

const nft = (...args: string[]): string =>
  execFileSync('ip', ['netns', 'exec', names(PREFIX).node(NODE), 'nft', ...args], { encoding: 'utf8', stdio: 'pipe' })

/** The objects of the listing, each in a form that does not depend on the order in which it was filled. */
const listing = (): Set<string> => {
  const objects = nft('-s', 'list', 'table', 'inet', 'gingham').split('\n\n')
  const plainly = (o: string): string =>
    o
      .replace(/table inet gingham/, '')
      .replace(/[{}\s]+/g, ' ')
      .trim()
  return new Set(
    objects.map(o =>
      plainly(o)
        .split(/, | elements = /)
        .sort()
        .join(', '),
    ),
  )
}

type Edit = { at: string; by: string; what: string[] }
const lastEdit = async (): Promise<Edit | null> =>
  (JSON.parse(await readText(agentSocket(RUN, NODE), '/status')) as { dataplane: { lastEdit: Edit | null } }).dataplane
    .lastEdit

const someOutcome = (verdict: string): string => {
  const found = [...nft('list', 'table', 'inet', 'gingham').matchAll(/chain (o_[0-9a-f]+) \{([^}]*)\}/g)]
  return found.find(([, , body]) => body!.includes(verdict))![1]!
}

/** Each edit, and words that must be in what is said of it. */
const EDITS: readonly { title: string; edit: () => void; says: RegExp }[] = [
  {
    title: 'an element deleted',
    edit: () =>
      void nft(
        'delete',
        'element',
        'inet',
        'gingham',
        'pod4',
        `{ ${lab.wired[0]!.addresses.find(a => a.includes('.'))} }`,
      ),
    says: /element .* of pod4 was deleted/,
  },
  {
    title: 'a rule that accepts put in front of a drop',
    edit: () => void nft('insert', 'rule', 'inet', 'gingham', someOutcome('drop'), 'accept'),
    says: /chain o_\w+ has \d rules instead of \d/,
  },
  {
    title: 'a drop replaced by accept under the old comment',
    edit: () => {
      const chain = someOutcome('drop')
      const listed = nft('-a', 'list', 'chain', 'inet', 'gingham', chain)
      const [, comment, handle] = /drop comment ("[^"]*") # handle (\d+)/.exec(listed)!
      nft('replace', 'rule', 'inet', 'gingham', chain, 'handle', handle!, 'counter', 'accept', 'comment', comment!)
    },
    says: /a rule of chain o_\w+ was replaced/,
  },
  {
    title: 'a chain added',
    edit: () => void nft('add', 'chain', 'inet', 'gingham', 'mine'),
    says: /chain mine was added/,
  },
  {
    title: 'the table flushed',
    edit: () => void nft('flush', 'table', 'inet', 'gingham'),
    says: /has 0 rules instead of/,
  },
  {
    title: 'the table deleted',
    edit: () => void nft('delete', 'table', 'inet', 'gingham'),
    says: /the table was deleted/,
  },
]

for (const { title, edit, says } of EDITS) {
  test(`${title}: named with who did it, and put right`, async () => {
    const before = listing()
    const since = (await lastEdit())?.at
    edit()
    let found: Edit | null = null
    for (let i = 0; i < 100 && (found === null || found.at === since); i++) {
      await delay(50)
      found = await lastEdit()
    }
    assert.ok(found && found.at !== since, 'the edit was noticed')
    assert.match(found.by, /^nft \(pid \d+\)/)
    assert.match(found.what.join('\n'), says)
    // What was added is removed when no packet can be in it any more.
    const differs = (): string[] => [...listing().symmetricDifference(before)]
    for (let i = 0; i < 60 && differs().length > 0; i++) await delay(50)
    assert.deepEqual(differs().slice(0, 3), [], 'everything is as it was')
  })
}

test('verdicts are right after all of that', async () => {
  const probes = await lab.probe()
  assert.deepEqual(
    probes.filter(p => difference(p) !== undefined),
    [],
  )
})

test('a table that is ours alone refuses edits, and survives a flush of the ruleset', async () => {
  await lab.killAgent('node-b')
  const inB = (...args: string[]): string =>
    execFileSync('ip', ['netns', 'exec', names(PREFIX).node('node-b'), 'nft', ...args], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  inB('delete', 'table', 'inet', 'gingham')
  await lab.startAgent('node-b', [])
  assert.throws(() => inB('flush', 'table', 'inet', 'gingham'), /Operation not permitted/)
  inB('flush', 'ruleset')
  assert.match(inB('list', 'table', 'inet', 'gingham'), /chain to_check/)
})
