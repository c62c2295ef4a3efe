// The images that Kubernetes' own end-to-end suite needs in the lab: its test server, with the tools that specs call in it or in
// images of their own, and programs that stand alone. They are for this machine only and never published, so the tools are
// those that it has installed.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { MERGED, merged } from './debian.ts'
import { entryOf } from './folder.ts'
import type { Image } from './image.ts'
import { staticEntry } from './programs.ts'
import { directory, symlink, type TarEntry } from './tar.ts'

/** What specs call by name, each where its Debian package has it. BusyBox stands in for everything small. */
const TOOLS: Readonly<Record<string, string>> = {
  // BusyBox' shell would call BusyBox' own programs before those of this list.
  sh: '/usr/bin/dash',
  bash: '/usr/bin/bash',
  conntrack: '/usr/sbin/conntrack',
  curl: '/usr/bin/curl',
  dig: '/usr/bin/dig',
  // A static program cannot look up names by the libraries of another build: BusyBox' own end by a signal.
  nslookup: '/usr/bin/nslookup',
  wget: '/usr/bin/wget',
  getent: '/usr/bin/getent',
  // Specs use its options; BusyBox' own has others.
  nc: '/usr/bin/nc.openbsd',
}
const BUSYBOX = '/usr/bin/busybox'

/** A library as a program asks for it. */
const libraryEntry = (path: string): TarEntry => entryOf(realpathSync(path), merged(path.slice(1)))

/** What the loader would load for a program, itself included. */
function libraries(program: string): string[] {
  const printed = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [...printed.matchAll(/(\/\S+) \(0x[0-9a-f]+\)$/gm)].map(([, path]) => path!)
}

function toolEntries(): TarEntry[] {
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n')
  const needed = new Set(Object.values(TOOLS).flatMap(libraries))
  return [
    ...MERGED,
    ...['etc', 'root', 'tmp', 'usr/sbin'].map(directory),
    entryOf(realpathSync(BUSYBOX), 'usr/bin/busybox'),
    ...applets
      .filter(name => name !== 'busybox' && !Object.hasOwn(TOOLS, name))
      .map(name => symlink(`usr/bin/${name}`, 'busybox')),
    ...Object.entries(TOOLS).map(([name, path]) => entryOf(realpathSync(path), `usr/bin/${name}`)),
    ...[...needed].map(libraryEntry),
  ]
}

/** What the test server serves TLS with; nobody checks who signed it. */
function certificateEntries(): TarEntry[] {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-certificate-'))
  try {
    const [key, certificate] = ['localhost.key', 'localhost.crt'].map(name => join(folder, name)) as [string, string]
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650'],
        ...['-subj', '/CN=localhost', '-keyout', key, '-out', certificate],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    return [key, certificate].map(file => ({ ...entryOf(file, basename(file)), mode: 0o644 }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const programEntry = (file: string, path: string): TarEntry => ({ ...entryOf(file, path), mode: 0o755 })

type Facts = { readonly architecture: string; readonly names: readonly string[]; readonly program: string }

/** The test server, CoreDNS, which specs start beside it, and the tools in one, whatever a spec calls it. */
export const agnhost = (root: string, { architecture, names, program }: Facts): Image => ({
  names,
  architecture,
  config: { Entrypoint: ['/agnhost'], Cmd: ['pause'], Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
  layers: [
    { created_by: 'tools of this machine', entries: toolEntries() },
    { created_by: 'coredns', entries: [programEntry(join(dirname(program), 'coredns'), 'coredns')] },
    { created_by: 'agnhost', entries: [programEntry(program, 'agnhost-server'), ...certificateEntries()] },
    { created_by: 'agnhost.c', entries: [staticEntry(root, 'agnhost.c', 'agnhost')] },
  ],
})

/** A static program and nothing else. */
export const programAlone = ({ architecture, names, program }: Facts): Image => ({
  names,
  architecture,
  config: { Entrypoint: [`/${basename(program)}`] },
  layers: [{ created_by: basename(program), entries: [programEntry(program, basename(program))] }],
})
