// Where the CNI client looks for an agent unless it is told otherwise: one path on a host, which the agent makes a symbolic
// link to its own socket. Beside it lies a second link, to the folder of what clients remember while no agent serves; it
// stays when the agent stops, because that is when it is needed.
import { lstatSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmdirSync, rmSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../io/log.ts'
import { spoolOf, UNFINISHED } from './cni-spool.ts'

/** Whether somebody accepts connections at a unix socket, through links. */
const isServed = (socket: string): Promise<boolean> =>
  new Promise(resolve => {
    const client = connect(socket)
    const done = (answer: boolean): void => {
      client.destroy()
      resolve(answer)
    }
    client.once('connect', () => done(true)).once('error', () => done(false))
  })

function kindAt(at: string): 'nothing' | 'link' | 'folder' | 'other' {
  const stat = lstatSync(at, { throwIfNoEntry: false })
  if (!stat) return 'nothing'
  return stat.isSymbolicLink() ? 'link' : stat.isDirectory() ? 'folder' : 'other'
}

/** Puts a link in the place of another, or of nothing, in one step. */
function putLink(target: string, at: string): void {
  const fresh = `${at}.${process.pid}`
  rmSync(fresh, { force: true })
  symlinkSync(target, fresh)
  renameSync(fresh, at)
}

/** For how long clients may be at work in the folder that is to become a link. */
const PATIENCE_MS = 2000
const PAUSE_MS = 20
const RETRY_MS = 1000

/**
 * Puts the link to the agent's folder where clients remembered requests in a folder of their own, before there was a link; what
 * is in it moves to the agent's. Clients are at work meanwhile: a request that comes or goes under our hands is no fault.
 */
async function putSpoolLink(own: string, at: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const isLate = performance.now() > end
    try {
      if (kindAt(at) === 'folder') emptyInto(own, at, isLate)
      return putLink(own, at)
    } catch (error) {
      if (isLate || !MEANWHILE.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      await delay(PAUSE_MS)
    }
  }
}

/** What a client's work in the folder makes of ours: something is in it, is gone from it, or it is there again. */
const MEANWHILE = ['ENOTEMPTY', 'EEXIST', 'EISDIR', 'ENOENT']

/** `isLate`: what is still not whole is a dead client's. */
function emptyInto(own: string, at: string, isLate: boolean): void {
  for (const name of readdirSync(at)) {
    if (!name.endsWith(UNFINISHED)) renameSync(path.join(at, name), path.join(own, name))
    else if (isLate) rmSync(path.join(at, name), { force: true })
  }
  rmdirSync(at)
}

const pointsTo = (at: string, target: string): boolean => kindAt(at) === 'link' && readlinkSync(at) === target

/**
 * Makes `at` lead to an agent's socket, and `<at>.del` to its folder of remembered requests. Call it before the agent
 * takes up what was remembered. Gives undefined, or the reason why it did not: the path belongs to another agent that
 * serves, or is no link. Throws what may be otherwise the next time.
 */
export async function linkSocket(agentSocket: string, at: string): Promise<string | undefined> {
  const socket = path.resolve(agentSocket)
  if (path.resolve(at) === socket) return undefined
  if (kindAt(at) === 'folder' || kindAt(at) === 'other') return `${at} is no link and stays as it is`
  if (!pointsTo(at, socket) && (await isServed(at))) return `${at} leads to another agent, ${readlinkSync(at)}`
  const [own, spool] = [spoolOf(socket), spoolOf(at)]
  mkdirSync(path.dirname(at), { recursive: true })
  mkdirSync(own, { recursive: true, mode: 0o700 })
  await putSpoolLink(own, spool)
  putLink(socket, at)
  return undefined
}

/** The same until it is so or refused, in the background: an agent that no plugin finds starts no pod. */
export class SocketLink {
  readonly #socket: string
  readonly #at: string
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined
  problems: readonly string[] = []

  constructor(socket: string, at: string, log: Logger) {
    this.#socket = socket
    this.#at = at
    this.#log = log
  }

  async make(): Promise<void> {
    try {
      const refused = await linkSocket(this.#socket, this.#at)
      this.problems = []
      if (refused) this.#log.warn({ refused }, 'the CNI plugin does not find this agent unless it is told the socket')
      else this.#log.info({ cniSocket: this.#at }, 'the CNI plugin finds this agent')
    } catch (err) {
      this.#log.error({ err, cniSocket: this.#at }, 'the CNI plugin does not find this agent; trying again')
      this.problems = [`no pod starts here: the link ${this.#at} cannot be made: ${(err as Error).message}`]
      this.#timer = setTimeout(() => void this.make(), RETRY_MS)
    }
  }

  stop(): void {
    clearTimeout(this.#timer)
    unlinkSocket(this.#socket, this.#at)
  }
}

/** Takes the link to the socket away, if it is this agent's. */
export function unlinkSocket(agentSocket: string, at: string): void {
  if (pointsTo(at, path.resolve(agentSocket))) rmSync(at, { force: true })
}
