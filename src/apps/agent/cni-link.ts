// Where the CNI client looks for an agent unless it is told otherwise: one path on a host, which the agent makes a symbolic
// link to its own socket. Beside it lies a second link, to the folder of what clients remember while no agent serves; it
// stays when the agent stops, because that is when it is needed.
import { lstatSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmdirSync, rmSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { spoolOf } from './cni-spool.ts'

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

/** What clients remembered in a folder of their own before there was a link moves to the agent's folder. */
function adoptSpool(own: string, at: string): void {
  for (const name of readdirSync(at)) renameSync(path.join(at, name), path.join(own, name))
  rmdirSync(at)
}

const pointsTo = (at: string, target: string): boolean => kindAt(at) === 'link' && readlinkSync(at) === target

/**
 * Makes `at` lead to an agent's socket, and `<at>.del` to its folder of remembered requests. Call it before the agent
 * takes up what was remembered. Gives undefined, or the reason why it did not: the path belongs to another agent that
 * serves, or is no link.
 */
export async function linkSocket(agentSocket: string, at: string): Promise<string | undefined> {
  const socket = path.resolve(agentSocket)
  if (path.resolve(at) === socket) return undefined
  try {
    if (kindAt(at) === 'folder' || kindAt(at) === 'other') return `${at} is no link and stays as it is`
    if (!pointsTo(at, socket) && (await isServed(at))) return `${at} leads to another agent, ${readlinkSync(at)}`
    const [own, spool] = [spoolOf(socket), spoolOf(at)]
    mkdirSync(path.dirname(at), { recursive: true })
    mkdirSync(own, { recursive: true, mode: 0o700 })
    if (kindAt(spool) === 'folder') adoptSpool(own, spool)
    putLink(own, spool)
    putLink(socket, at)
    return undefined
  } catch (error) {
    return `${at} cannot be made: ${(error as Error).message}`
  }
}

/** Takes the link to the socket away, if it is this agent's. */
export function unlinkSocket(agentSocket: string, at: string): void {
  if (pointsTo(at, path.resolve(agentSocket))) rmSync(at, { force: true })
}
