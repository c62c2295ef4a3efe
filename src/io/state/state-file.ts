// The last known state on disk: the resources that a node enforced, for a start without the datastore. The file is JSON
//   {"format":1,"sha256":"<of the state's bytes>","state":{…}}
// in exactly these words, so that any changed, missing or added byte is noticed: nothing is better than a wrong policy.
// It is replaced whole (a temporary file, fsync, rename), and written in slices, so that the process serves meanwhile.
import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import path from 'node:path'
import { failed, joinPath, ok, type Result } from '../../core/base/problem.ts'
import { decodeResource, type Resource } from '../../core/resources/resource.ts'

export type SavedState = {
  readonly node: string
  /** The datastore's revision that the resources show. */
  readonly revision: number
  /** Of the cluster, where it is known. */
  readonly clusterGuid?: string | undefined
  /** ISO 8601. */
  readonly writtenAt: string
  /** As they are stored; what they stand for (a pod is an endpoint) is derived anew. */
  readonly resources: readonly Resource[]
}

export const FORMAT = 1
/** Resources turned into text before others get the processor: about a millisecond. */
const SLICE = 250
const beginning = (sha256: string): string => `{"format":${FORMAT},"sha256":"${sha256}","state":`
const PLACE = beginning('0'.repeat(64))
const END = '}\n'

/** Replaces the file, whose folder is made if need be. Rejects with the file system's error; the old file then stays. */
export async function writeState(file: string, state: SavedState): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true })
  const fresh = `${file}.new`
  const handle = await open(fresh, 'w', 0o600)
  try {
    const hash = createHash('sha256')
    const put = async (text: string): Promise<void> => {
      hash.update(text)
      await handle.appendFile(text)
    }
    await handle.appendFile(PLACE)
    const { resources, ...about } = state
    await put(`${JSON.stringify(about).slice(0, -1)},"resources":[\n`)
    for (let from = 0; from < resources.length; from += SLICE) {
      const slice = resources.slice(from, from + SLICE).map(resource => JSON.stringify(resource))
      await put(`${from === 0 ? '' : ',\n'}${slice.join(',\n')}`)
    }
    await put('\n]}')
    await handle.appendFile(END)
    await handle.write(beginning(hash.digest('hex')), 0)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(fresh, file)
  await syncFolder(path.dirname(file))
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The state of a node, as it was written; or, in one sentence, why the file is not used. */
export async function readState(file: string, node: string): Promise<Result<SavedState>> {
  let bytes: Buffer
  try {
    bytes = await readFile(file)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return failed({ path: file, message: code === 'ENOENT' ? 'does not exist' : `cannot be read: ${message}` })
  }
  const state = decodeState(bytes)
  if (!state.ok) {
    const [{ path: where, message } = { path: '', message: '' }] = state.problems
    return failed({ path: file, message: where === '' ? message : `${where}: ${message}` })
  }
  if (state.value.node !== node) return failed({ path: file, message: `is the state of node ${state.value.node}` })
  return state
}

/** The file's bytes as a state; every doubt is a problem. */
export function decodeState(bytes: Uint8Array): Result<SavedState> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const head = /^\{"format":(\d{1,9}),/.exec(text.toString('latin1', 0, PLACE.length))
  if (head === null) return failed({ path: '', message: 'does not begin as a state does' })
  const format = Number(head[1])
  if (format !== FORMAT) {
    const message = `has format ${format}, this version reads format ${FORMAT}`
    return failed({ path: '', message: format > FORMAT ? `was written by a newer version: it ${message}` : message })
  }
  if (text.toString('latin1', text.length - END.length) !== END)
    return failed({ path: '', message: 'is cut off: its end is missing' })
  const payload = text.subarray(PLACE.length, text.length - END.length)
  const sha256 = createHash('sha256').update(payload).digest('hex')
  if (text.toString('latin1', 0, PLACE.length) !== beginning(sha256))
    return failed({ path: '', message: 'is damaged: its checksum is not that of its contents' })
  return decodePayload(payload.toString('utf8'))
}

/** Resources are judged as those of the datastore are, since an older version of this program may have written them. */
function decodePayload(payload: string): Result<SavedState> {
  const { resources, ...about } = JSON.parse(payload) as Omit<SavedState, 'resources'> & { resources: unknown[] }
  const decoded: Resource[] = []
  for (const [index, document] of resources.entries()) {
    const resource = decodeResource(document, { stored: true })
    if (!resource.ok) {
      const [first] = resource.problems
      const where = joinPath(joinPath('resources', index), first!.path)
      return failed({ path: where, message: `${first!.message}: this version cannot enforce it` })
    }
    decoded.push(resource.value)
  }
  return ok({ ...about, resources: decoded })
}
