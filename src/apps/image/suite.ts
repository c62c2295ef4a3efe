// The images that Kubernetes' own end-to-end suite needs in the lab: its test server, with the tools that specs call in it, and
// CoreDNS. They are for this machine only and never published, so the tools are those that it has installed.
import { execFileSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { entryOf } from './folder.ts'
import type { Image } from './image.ts'
import { staticEntry } from './programs.ts'
import type { TarEntry } from './tar.ts'

/** What specs call by name, each where its Debian package has it. BusyBox stands in for everything small. */
const TOOLS: Readonly<Record<string, string>> = {
  // BusyBox' shell would call BusyBox' own programs before those of this list.
  sh: '/usr/bin/dash',
  bash: '/usr/bin/bash',
  curl: '/usr/bin/curl',
  dig: '/usr/bin/dig',
  // Specs use its options; BusyBox' own has others.
  nc: '/usr/bin/nc.openbsd',
}
const BUSYBOX = '/usr/bin/busybox'

const link = (path: string, target: string): TarEntry => ({ path, mode: 0o777, body: { kind: 'symlink', target } })
const directory = (path: string): TarEntry => ({ path, mode: 0o755, body: { kind: 'directory' } })

/** A library as a program asks for it, under the one tree that Debian's `/lib` is part of. */
const libraryEntry = (path: string): TarEntry =>
  entryOf(realpathSync(path), path.replace(/^\/(?:usr\/)?(lib\w*)\//, 'usr/$1/'))

/** What the loader would load for a program, itself included. */
function libraries(program: string): string[] {
  const printed = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [...printed.matchAll(/(\/\S+) \(0x[0-9a-f]+\)$/gm)].map(([, path]) => path!)
}

function toolEntries(): TarEntry[] {
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n')
  const needed = new Set(Object.values(TOOLS).flatMap(libraries))
  return [
    ...['bin', 'lib', 'lib64', 'sbin'].map(name => link(name, `usr/${name}`)),
    ...['etc', 'root', 'tmp', 'usr/sbin'].map(directory),
    entryOf(realpathSync(BUSYBOX), 'usr/bin/busybox'),
    ...applets
      .filter(name => name !== 'busybox' && !Object.hasOwn(TOOLS, name))
      .map(name => link(`usr/bin/${name}`, 'busybox')),
    ...Object.entries(TOOLS).map(([name, path]) => entryOf(realpathSync(path), `usr/bin/${name}`)),
    ...[...needed].map(libraryEntry),
  ]
}

const program = (file: string, path: string): TarEntry => ({ ...entryOf(file, path), mode: 0o755 })

/** The test server under the name that the suite asks for. */
export const agnhost = (root: string, facts: { architecture: string; name: string; program: string }): Image => ({
  name: facts.name,
  architecture: facts.architecture,
  config: { Entrypoint: ['/agnhost'], Cmd: ['pause'], Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
  layers: [
    { created_by: 'tools of this machine', entries: toolEntries() },
    { created_by: 'agnhost', entries: [program(facts.program, 'agnhost-server')] },
    { created_by: 'agnhost.c', entries: [staticEntry(root, 'agnhost.c', 'agnhost')] },
  ],
})

export const coredns = (facts: { architecture: string; name: string; program: string }): Image => ({
  name: facts.name,
  architecture: facts.architecture,
  config: { Entrypoint: ['/coredns'] },
  layers: [{ created_by: 'coredns', entries: [program(facts.program, 'coredns'), directory('etc')] }],
})
