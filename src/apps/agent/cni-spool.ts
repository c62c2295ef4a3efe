// What the CNI client remembered while no agent served: DEL requests, each a file in `<socket>.del` that holds the HTTP
// request as it would have come over the socket. They are done once the agent serves, again and again until each has
// succeeded; what can never succeed is set aside under another name, and told.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { CNI_ERROR } from '../../core/cni/error.ts'
import type { Logger } from '../../io/log.ts'
import type { CniAnswer } from './cni.ts'

export type SavedRequest = { readonly headers: Readonly<Record<string, string>>; readonly body: string }
type Handle = (headers: Readonly<Record<string, string>>, body: string) => Promise<CniAnswer>

const SUFFIX = '.http'
const ASIDE = '.refused'
export const UNFINISHED = '.new'
const RETRY_MS = 5000
/** A client that writes its file for so long does not live any more. */
const UNFINISHED_MS = 60_000
/** The request itself is wrong: no repetition makes it right. */
const HOPELESS: readonly number[] = [
  CNI_ERROR.INCOMPATIBLE_VERSION,
  CNI_ERROR.INVALID_ENVIRONMENT,
  CNI_ERROR.DECODE,
  CNI_ERROR.INVALID_CONFIG,
]

/** The folder of an agent's socket, or of a link to it: what clients remember that were given this path. */
export const spoolOf = (socket: string): string => `${socket}.del`

export class CniSpool {
  readonly #folder: string
  readonly #handle: Handle
  readonly #log: Logger
  readonly #busy = new Map<string, Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #aside = 0
  #waiting = 0
  #stopped = false

  /** `socket`: of the agent, beside which the folder is. */
  constructor({ socket, handle, log }: { socket: string; handle: Handle; log: Logger }) {
    this.#folder = spoolOf(socket)
    this.#handle = handle
    this.#log = log
  }

  get problems(): string[] {
    const waiting = `${this.#waiting} CNI DEL from before this agent could not be done yet; tried every ${RETRY_MS / 1000} s`
    const aside = `${this.#aside} remembered CNI requests were refused: see the log and ${this.#folder}/*${ASIDE}`
    return [...(this.#waiting > 0 ? [waiting] : []), ...(this.#aside > 0 ? [aside] : [])]
  }

  /** To be called when the socket serves: from then on clients leave nothing new. Resolves after the first round. */
  async start(): Promise<void> {
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      await this.#round()
    } catch (error) {
      this.#log.error({ err: error }, `${this.#folder} cannot be used: remembered CNI requests wait for the next start`)
    }
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** An ADD for a container comes after the DEL that was remembered of it, which would else take away what it makes. */
  async serve(headers: Readonly<Record<string, string>>, body: string): Promise<CniAnswer> {
    if (headers['cni-command'] === 'ADD') await this.#replay(fileOf(headers))
    return this.#handle(headers, body)
  }

  async #round(): Promise<void> {
    const names = this.#names()
    if (names.length > 0) this.#log.info({ requests: names.length }, 'doing the CNI DEL requests of the time before')
    await Promise.all(names.map(name => this.#replay(name)))
    const left = readdirSync(this.#folder)
    this.#aside = left.filter(name => name.endsWith(ASIDE)).length
    this.#waiting = left.filter(name => name.endsWith(SUFFIX)).length
    if (this.#waiting === 0 || this.#stopped) return
    this.#timer = setTimeout(() => void this.start(), RETRY_MS).unref()
  }

  #names(): string[] {
    const all = readdirSync(this.#folder)
    for (const name of all.filter(n => n.endsWith(UNFINISHED))) this.#removeUnfinished(name)
    return all.filter(name => name.endsWith(SUFFIX))
  }

  #removeUnfinished(name: string): void {
    const file = path.join(this.#folder, name)
    const stat = statSync(file, { throwIfNoEntry: false })
    if (stat && Date.now() - stat.mtimeMs > UNFINISHED_MS) rmSync(file, { force: true })
  }

  /** One at a time for each file; nothing if it is not there. */
  #replay(name: string): Promise<void> {
    const running = this.#busy.get(name)
    if (running) return running
    const run = this.#once(name).finally(() => this.#busy.delete(name))
    this.#busy.set(name, run)
    return run
  }

  async #once(name: string): Promise<void> {
    const file = path.join(this.#folder, name)
    let bytes: Buffer
    try {
      bytes = readFileSync(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#setAside(file, (error as Error).message)
      return
    }
    const request = parseSaved(bytes)
    if (typeof request === 'string') {
      this.#setAside(file, request)
      return
    }
    const { ok, body } = await this.#handle(request.headers, request.body)
    if (ok) rmSync(file, { force: true })
    else if (HOPELESS.includes(codeOf(body))) this.#setAside(file, body.trim())
    else this.#log.warn({ file, answer: body.trim() }, 'a remembered CNI DEL failed; it is tried again')
  }

  #setAside(file: string, why: string): void {
    this.#log.error({ file, why }, 'a remembered CNI request cannot be done and is set aside')
    renameSync(file, file.slice(0, -SUFFIX.length) + ASIDE)
  }
}

/** As the client names the file; a name that it would not write is found nowhere. */
function fileOf(headers: Readonly<Record<string, string>>): string {
  return `${path.basename(headers['cni-containerid'] ?? '')}-${path.basename(headers['cni-ifname'] ?? '')}${SUFFIX}`
}

function codeOf(body: string): number {
  try {
    return Number((JSON.parse(body) as { code?: unknown }).code)
  } catch {
    return CNI_ERROR.INTERNAL
  }
}

/** The bytes of a remembered DEL as headers (lower-case names) and body; else what is wrong with them. */
export function parseSaved(bytes: Uint8Array): SavedRequest | string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const end = buffer.indexOf('\r\n\r\n')
  if (end < 0) return 'it has no headers'
  const [first, ...lines] = buffer.toString('latin1', 0, end).split('\r\n')
  if (first !== 'POST /cni HTTP/1.1') return 'it is no request of the CNI client'
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, name, value] = /^([A-Za-z-]+): ([\x21-\x7e ]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) return `${JSON.stringify(line)} is no header`
    headers[name.toLowerCase()] = value
  }
  const body = buffer.subarray(end + 4)
  if (headers['content-length'] !== String(body.length)) return 'it is not whole'
  if (headers['cni-command'] !== 'DEL') return `${headers['cni-command'] ?? 'nothing'} is not DEL`
  return { headers, body: body.toString('utf8') }
}
