// `npm run image`: builds the container images without a daemon, into build/image, and prints their digests. The same tree
// and the same Debian packages give the same bytes. With `--agnhost FILE=NAME,...` and `--program FILE=NAME,...` it builds images
// for Kubernetes' own suite instead, from those programs and under those names.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { VERSION } from '../../core/base/version.ts'
import { cacheFolder } from '../../io/cache.ts'
import { checkLibraries, debianEntries } from './debian.ts'
import { encodeImage, type Image } from './image.ts'
import { HOME, NODE_FLAGS, NODE_PATH, nodeEntry, programEntries, staticEntry } from './programs.ts'
import { agnhost, programAlone } from './suite.ts'
import { directory, encodeTar, symlink } from './tar.ts'
import { unpack } from './unpack.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const OUTPUT = join(ROOT, 'build/image')
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

const say = (text: string): void => void process.stdout.write(`[image] ${text}\n`)

/** Mount points: the root file system is read only when it runs. */
const PLACES = [
  'etc',
  'host',
  'proc',
  'run',
  'sys',
  'dev',
  'tmp',
  'root',
  'var/lib/gingham',
  'var/log/gingham',
  'var/lib/calico',
]

function gingham(architecture: string): Image {
  return {
    names: [`localhost/gingham:${VERSION}`],
    architecture,
    config: {
      Entrypoint: [`/${NODE_PATH}`, ...NODE_FLAGS, `/${HOME}/agent.js`],
      Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'NODE_ENV=production'],
      WorkingDir: '/',
      Labels: { 'org.opencontainers.image.title': 'gingham', 'org.opencontainers.image.version': VERSION },
    },
    layers: [
      {
        created_by: 'Debian packages',
        entries: [
          ...debianEntries(join(cacheFolder(), 'debian'), say),
          ...PLACES.map(directory),
          symlink('var/run', '../run'),
          {
            path: 'etc/passwd',
            mode: 0o644,
            body: { kind: 'file', bytes: Buffer.from('root:x:0:0:root:/root:/sbin/nologin\n') },
          },
          { path: 'etc/group', mode: 0o644, body: { kind: 'file', bytes: Buffer.from('root:x:0:\n') } },
        ],
      },
      { created_by: 'Node.js', entries: [nodeEntry(ROOT)] },
      { created_by: `gingham ${VERSION}`, entries: programEntries(ROOT) },
    ],
  }
}

const pause = (architecture: string): Image => ({
  names: [`localhost/gingham-pause:${VERSION}`],
  architecture,
  config: { Entrypoint: ['/pause'], User: '65535:65535' },
  layers: [{ created_by: 'pause.c', entries: [staticEntry(ROOT, 'pause.c', 'pause')] }],
})

/** Runs the programs' loader on the root file system as it will be. */
function check(image: Image): void {
  const root = mkdtempSync(join(tmpdir(), 'gingham-root-'))
  try {
    for (const { entries } of image.layers) unpack(encodeTar(entries), root)
    checkLibraries(root, [`/${NODE_PATH}`, '/usr/sbin/bird', '/usr/sbin/birdcl'])
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function write(file: string, image: Image): void {
  const { archive, digest } = encodeImage(image)
  const path = join(OUTPUT, file)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(`${path}.new`, archive)
  renameSync(`${path}.new`, path)
  say(`${image.names[0]} ${digest} (${(archive.length / 1e6).toFixed(1)} MB) in build/image/${file}`)
}

const architecture = ARCHITECTURES[process.arch]
if (architecture === undefined) throw new Error(`there is no image for ${process.arch}`)
/** `FILE=NAME,...`: a program, and what its image is called. */
function named(option: string) {
  const [program, names] = option.split('=')
  if (!program || !names) throw new Error(`${option}: not of the form FILE=NAME,...`)
  return { architecture: architecture!, program, names: names.split(',') }
}

const { values } = parseArgs({
  options: { agnhost: { type: 'string' }, program: { type: 'string', multiple: true } },
})
if (values.agnhost !== undefined) write('agnhost.tar', agnhost(ROOT, named(values.agnhost)))
for (const each of (values.program ?? []).map(named)) write(`${basename(each.program)}.tar`, programAlone(each))
if (Object.keys(values).length === 0) {
  const agent = gingham(architecture)
  check(agent)
  write('gingham.tar', agent)
  write('gingham-pause.tar', pause(architecture))
}
