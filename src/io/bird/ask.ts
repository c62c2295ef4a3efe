// BIRD's control socket: one connection a command. It greets with a reply of its own, then answers each line it gets.
import net from 'node:net'
import { type BirdReply, isError, replyText, takeReply } from '../../core/bird/control.ts'

/** BIRD said no. `reply` is all that it said. */
export class BirdRefusal extends Error {
  readonly reply: BirdReply
  constructor(command: string, reply: BirdReply) {
    super(`BIRD answered ${command} with: ${replyText(reply)}`)
    this.name = 'BirdRefusal'
    this.reply = reply
  }
}

const PATIENCE = 10_000

/** A connection on which BIRD has greeted. It stays open for as long as this BIRD lives. */
export function connectBird(path: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path)
    const fail = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    socket.setEncoding('utf8')
    socket.setTimeout(PATIENCE, () => fail(new Error(`BIRD does not answer at ${path}`)))
    socket.once('error', fail)
    socket.once('close', () => reject(new Error(`BIRD closed ${path}`)))
    receive(socket).then(() => {
      socket.setTimeout(0)
      resolve(socket)
    }, fail)
  })
}

/** The next reply on a connection. */
function receive(socket: net.Socket): Promise<BirdReply> {
  return new Promise((resolve, reject) => {
    let received = ''
    const done = (settle: () => void): void => {
      socket.off('data', onData).off('close', onClose)
      settle()
    }
    const onClose = (): void => done(() => reject(new Error('BIRD ended the connection before its reply did')))
    const onData = (chunk: string): void => {
      received += chunk
      const taken = takeReply(received)
      if (taken !== undefined) done(() => resolve(taken.reply))
    }
    socket.on('data', onData).on('close', onClose)
  })
}

/** Asks the BIRD behind a control socket one thing. Throws `BirdRefusal` when BIRD says no, and the socket's error without BIRD. */
export async function askBird(path: string, command: string): Promise<BirdReply> {
  if (command.includes('\n')) throw new Error('a command of BIRD is one line')
  const socket = await connectBird(path)
  try {
    // An error is followed by `close`, which is what `receive` waits for.
    socket.on('error', () => {})
    socket.setTimeout(PATIENCE, () => socket.destroy())
    socket.write(`${command}\n`)
    const reply = await receive(socket)
    if (isError(reply)) throw new BirdRefusal(command, reply)
    return reply
  } finally {
    socket.destroy()
  }
}
