// What this project puts into images: its programs bundled, each from its own entry, so that the image needs no packages of
// npm and starts in a third of the time, with what they share, and what few of them need, in files of their own; and small C
// programs for the images of pods.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { entryOf } from './folder.ts'
import { symlink, type TarEntry } from './tar.ts'

/** Where they lie in the image. */
export const HOME = 'opt/gingham'
export const NODE_PATH = 'usr/bin/node'

/** The bundle's name, and the module that it begins with. Threads are started from files of their own beside the others. */
export const BUNDLES: Readonly<Record<string, string>> = {
  agent: 'src/apps/agent/main.ts',
  'proof-worker': 'src/apps/agent/proof-worker.ts',
  'link-reaper': 'src/io/kernel/link-reaper.ts',
  conntrack: 'src/io/kernel/conntrack.ts',
  'install-cni': 'src/apps/cni/install.ts',
  gingham: 'src/apps/cli/main.ts',
}

/** Packages in the older module format ask for others by `require`, which such a module does not have by itself. */
const REQUIRE = "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);"

/** What Node is told in the image: memory for what is new, in MB for each of three parts. V8's own choice of 16 costs an agent 30 MB and saves it no time. */
export const NODE_FLAGS = ['--max-semi-space-size=4']

/** Modules as programs `NAME.js` in a folder, with what they share beside them. */
export function bundle(root: string, modules: Readonly<Record<string, string>>, folder: string): void {
  const entries = Object.entries(modules).map(([name, module]) => `${name}=${module}`)
  const flags = [
    '--bundle',
    '--splitting',
    '--chunk-names=part-[hash]',
    '--platform=node',
    '--target=node26',
    '--format=esm',
    '--legal-comments=eof',
    '--log-level=warning',
  ]
  execFileSync(
    join(root, 'node_modules/.bin/esbuild'),
    [...entries, ...flags, `--banner:js=#!/${NODE_PATH}\n${REQUIRE}`, `--outdir=${folder}`],
    { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
  )
}

const text = (path: string, content: string): TarEntry => ({
  path,
  mode: 0o644,
  body: { kind: 'file', bytes: Buffer.from(content) },
})

/** The bundles, the kernel addon and the CNI client, from a tree that is set up. */
export function programEntries(root: string): TarEntry[] {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-bundle-'))
  try {
    bundle(root, BUNDLES, folder)
    return [
      text(`${HOME}/package.json`, '{ "type": "module" }\n'),
      ...readdirSync(folder)
        .sort()
        .map(name => ({
          ...entryOf(join(folder, name), `${HOME}/${name}`),
          mode: Object.hasOwn(BUNDLES, name.replace(/\.js$/, '')) ? 0o755 : 0o644,
        })),
      entryOf(join(root, 'build/gingham.node'), `${HOME}/build/gingham.node`),
      entryOf(join(root, 'build/cni/gingham'), `${HOME}/cni/gingham`),
      symlink('usr/bin/gingham', `/${HOME}/gingham.js`),
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Node as npm brought it, byte for byte. */
export const nodeEntry = (root: string): TarEntry =>
  entryOf(join(root, 'node_modules', `node-linux-${process.arch}`, 'bin/node'), NODE_PATH)

/** A C program of this folder as the file `path`: static, for an image with nothing else in it. */
export function staticEntry(root: string, source: string, path: string): TarEntry {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-static-'))
  try {
    const program = join(folder, 'program')
    const flags = ['-std=gnu11', '-Os', '-Wall', '-Wextra', '-Werror', '-static', '-s']
    execFileSync('gcc', [...flags, '-o', program, source], { cwd: join(root, 'src/apps/image') })
    return { path, mode: 0o755, body: { kind: 'file', bytes: readFileSync(program) } }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
