// The ground of the image: programs and libraries out of Debian's packages, checked by apt against Debian's signatures.
// Only what runs is taken. What each package was, and its licence, stays in the image for those who scan it.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { entryOf, filesBelow } from './folder.ts'
import { symlink, type TarEntry } from './tar.ts'

/** BIRD, what Node and BIRD are linked with, and what those are linked with. `checkLibraries` finds what is forgotten. */
const PACKAGES = [
  'bird2',
  'libatomic1',
  'libc6',
  'libcom-err2',
  'libgcc-s1',
  'libgcrypt20',
  'libgpg-error0',
  'libgssapi-krb5-2',
  'libk5crypto3',
  'libkeyutils1',
  'libkrb5-3',
  'libkrb5support0',
  'libssh-gcrypt-4',
  'libstdc++6',
  'zlib1g',
] as const

type Download = { readonly name: string; readonly file: string; readonly sha256: string }

const apt = (args: readonly string[], cwd?: string): string =>
  // As root, apt would hand the download to a user who may not write into the folder.
  execFileSync('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', ...args], {
    ...(cwd === undefined ? {} : { cwd }),
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })

/** What apt would fetch: its lists are Debian's, whose signature it has checked. */
function askApt(): Download[] {
  const printed = apt(['--print-uris', 'download', ...PACKAGES])
  return [...printed.matchAll(/^'[^']+' (\S+?)_\S+ \d+ SHA256:([0-9a-f]{64})$/gm)].map(([line, name, sha256]) => ({
    name: name!,
    file: line!.split(' ')[1]!,
    sha256: sha256!,
  }))
}

function wanted(): Download[] {
  try {
    return askApt()
  } catch {
    // A machine that has not read the lists yet.
    apt(['update'])
    return askApt()
  }
}

const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')

const isRunnable = (path: string): boolean =>
  /^usr\/sbin\/bird(cl)?$/.test(path) ||
  /^usr\/lib64\//.test(path) ||
  (/^usr\/lib\/[^/]+\/[^/]+\.so(\.[^/]+)?$/.test(path) && !/\/(libmemusage|libpcprofile)\.so$/.test(path))
const isLicence = (path: string): boolean => /^usr\/share\/doc\/[^/]+\/copyright$/.test(path)

/** Debian has the two trees as one. */
export const merged = (path: string): string => path.replace(/^(bin|lib|lib64|sbin)\//, 'usr/$1/')
/** So that the other names lead there, too. */
export const MERGED: readonly TarEntry[] = ['bin', 'lib', 'lib64', 'sbin'].map(name => symlink(name, `usr/${name}`))

/** The packages' files, fetched into `cache` unless they are there. `say` is told what is fetched. */
export function debianEntries(cache: string, say: (text: string) => void): TarEntry[] {
  mkdirSync(cache, { recursive: true })
  const downloads = wanted()
  const missing = downloads.filter(
    ({ file, sha256: sum }) => !existsSync(join(cache, file)) || sha256(join(cache, file)) !== sum,
  )
  if (missing.length > 0) {
    say(`fetching ${missing.map(({ name }) => name).join(', ')}`)
    apt(['download', ...missing.map(({ name }) => name)], cache)
  }
  const scratch = mkdtempSync(join(tmpdir(), 'gingham-image-'))
  try {
    return [...downloads.flatMap(download => entriesOf(download, cache, scratch)), ...MERGED]
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function entriesOf({ name, file, sha256: sum }: Download, cache: string, scratch: string): TarEntry[] {
  const archive = join(cache, file)
  if (sha256(archive) !== sum) throw new Error(`${archive} is not what Debian's lists say: delete it and try again`)
  const folder = join(scratch, name)
  execFileSync('dpkg-deb', ['-x', archive, folder])
  const control = execFileSync('dpkg-deb', ['-f', archive])
  const files = [...filesBelow(folder)]
    .map(({ source, path }) => ({ source, path: merged(path) }))
    .filter(({ path }) => isRunnable(path) || isLicence(path))
  return [
    ...files.map(({ source, path }) => entryOf(source, path)),
    // Where scanners of images without a package manager look.
    { path: `var/lib/dpkg/status.d/${name}`, mode: 0o644, body: { kind: 'file', bytes: control } },
  ]
}

/** Throws unless each program of an unpacked root finds all that it is linked with there. */
export function checkLibraries(root: string, programs: readonly string[]): void {
  for (const program of programs) {
    // The loader lists what it would load, in the root as it will be; it ends with an error at the first that is missing.
    const loader = spawnSync('chroot', [root, '/lib64/ld-linux-x86-64.so.2', '--list', program], { encoding: 'utf8' })
    if (loader.status !== 0) throw new Error(`a package is missing in the image: ${loader.stderr.trim()}`)
  }
}
