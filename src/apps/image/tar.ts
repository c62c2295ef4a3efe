// A tar archive (POSIX ustar) whose bytes depend on nothing but its entries: sorted by path, owned by root, one time for all.
// Layers and image archives are made of it, so that the same input is the same image, digest and all.

export type TarEntry = {
  /** Relative, without a leading or trailing `/`. */
  readonly path: string
  readonly mode: number
  readonly body:
    | { readonly kind: 'file'; readonly bytes: Uint8Array }
    | { readonly kind: 'directory' }
    | { readonly kind: 'symlink'; readonly target: string }
}

export const directory = (path: string): TarEntry => ({ path, mode: 0o755, body: { kind: 'directory' } })
export const symlink = (path: string, target: string): TarEntry => ({
  path,
  mode: 0o777,
  body: { kind: 'symlink', target },
})

const BLOCK = 512
const NAME = 100
const PREFIX = 155
/** Type flags of POSIX.1-1988. */
const FLAG = { file: '0', symlink: '2', directory: '5' } as const

const utf8 = new TextEncoder()

/** A path as ustar's two fields, cut at a slash where it is longer than the first. Throws if it fits no cut. */
function splitPath(path: string): { readonly name: string; readonly prefix: string } {
  if (utf8.encode(path).length <= NAME) return { name: path, prefix: '' }
  for (let cut = path.indexOf('/'); cut > 0; cut = path.indexOf('/', cut + 1)) {
    const [prefix, name] = [path.slice(0, cut), path.slice(cut + 1)]
    const fits = utf8.encode(name).length <= NAME && utf8.encode(prefix).length <= PREFIX
    if (name !== '' && fits) return { name, prefix }
  }
  throw new Error(`${path} is too long for a tar archive`)
}

function header({ path, mode, body }: TarEntry): Uint8Array {
  const block = new Uint8Array(BLOCK)
  const text = (at: number, value: string): void => block.set(utf8.encode(value), at)
  const octal = (at: number, width: number, value: number): void =>
    text(at, `${value.toString(8).padStart(width - 1, '0')}\0`)
  const { name, prefix } = splitPath(body.kind === 'directory' ? `${path}/` : path)
  text(0, name)
  octal(100, 8, mode)
  octal(108, 8, 0)
  octal(116, 8, 0)
  octal(124, 12, body.kind === 'file' ? body.bytes.length : 0)
  // The epoch: when a file was made says nothing about it.
  octal(136, 12, 0)
  text(148, ' '.repeat(8))
  text(156, FLAG[body.kind])
  if (body.kind === 'symlink') {
    if (utf8.encode(body.target).length > NAME)
      throw new Error(`${body.target} is too long for a link in a tar archive`)
    text(157, body.target)
  }
  text(257, 'ustar\0' + '00')
  octal(329, 8, 0)
  octal(337, 8, 0)
  text(345, prefix)
  const sum = block.reduce((a, b) => a + b, 0)
  text(148, `${sum.toString(8).padStart(6, '0')}\0 `)
  return block
}

/** Directories that entries lie in and nobody names, so that nothing depends on who extracts. */
function withParents(entries: readonly TarEntry[]): TarEntry[] {
  const byPath = new Map(entries.map(entry => [entry.path, entry]))
  for (const { path } of entries) {
    for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1)) {
      const parent = path.slice(0, cut)
      if (!byPath.has(parent)) byPath.set(parent, directory(parent))
    }
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** The archive. Of two entries with one path the later counts. */
export function encodeTar(entries: readonly TarEntry[]): Uint8Array {
  const parts: Uint8Array[] = []
  for (const entry of withParents(entries)) {
    parts.push(header(entry))
    if (entry.body.kind !== 'file') continue
    const { bytes } = entry.body
    parts.push(bytes, new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK))
  }
  // Two blocks of zeros end it.
  parts.push(new Uint8Array(2 * BLOCK))
  return Buffer.concat(parts)
}
