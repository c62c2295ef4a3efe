// Files of a folder as entries of an archive.
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { TarEntry } from './tar.ts'

/** No file of an image may give anybody rights that they do not have. */
const PERMISSIONS = 0o755

/** A file or link as an entry at `path`. Of the mode only the permissions are kept: no set-uid, nothing for others to write. */
export function entryOf(source: string, path: string): TarEntry {
  const stat = lstatSync(source)
  const mode = stat.mode & PERMISSIONS
  if (stat.isSymbolicLink()) return { path, mode: 0o777, body: { kind: 'symlink', target: readlinkSync(source) } }
  if (stat.isFile()) return { path, mode, body: { kind: 'file', bytes: readFileSync(source) } }
  throw new Error(`${source} is neither a file nor a link`)
}

/** Every file and link below a folder, named from the folder; empty folders are left out. */
export function* filesBelow(folder: string): Generator<{ readonly source: string; readonly path: string }> {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const source = join(entry.parentPath, entry.name)
    if (!entry.isDirectory()) yield { source, path: relative(folder, source) }
  }
}
