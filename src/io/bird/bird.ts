// A BIRD of our own: started, given its configuration, restarted when it dies, ended. It outlives an agent that is killed:
// the next agent finds it by its control socket and goes on with it, so that no session is lost.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import type net from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type BirdProtocol, parseComplaint, parseProtocols, replyText } from '../../core/bird/control.ts'
import { askBird, BirdRefusal, connectBird } from './ask.ts'

/** BIRD cannot read a configuration; the message shows the line. */
export class BirdConfigError extends Error {
  readonly line: number | undefined
  constructor(complaint: string, text: string) {
    const found = parseComplaint(complaint)
    const source = found && text.split('\n')[found.line - 1]?.trim()
    super(
      `BIRD cannot read its configuration: ${found ? `line ${found.line}: ${found.message}: ${source}` : complaint}`,
    )
    this.name = 'BirdConfigError'
    this.line = found?.line
  }
}

export type BirdOptions = {
  /** Where its files live: bird.conf, bird.ctl (the socket), bird.pid. The folder exists. */
  readonly folder: string
  /** The program and words before its own arguments, such as `ip netns exec x bird`; it must exec, not fork. */
  readonly command?: readonly string[]
  /** Told, in a sentence, when BIRD died or cannot be started. */
  readonly onTrouble?: (what: string) => void
}

const FIRST_WAIT = 500
const LONGEST_WAIT = 30_000
/** A BIRD that lived so long starts again without waiting. */
const HEALTHY_AFTER = 60_000
/** How long a start may take until the socket answers, and an end until the process is gone. */
const PATIENCE = 10_000

const run = promisify(execFile)

export class Bird {
  readonly socket: string
  readonly #file: string
  readonly #pidFile: string
  readonly #command: readonly string[]
  readonly #onTrouble: (what: string) => void
  readonly #stopping = new AbortController()
  #life: Promise<void> | undefined
  #connection: net.Socket | undefined
  #config: string | undefined

  constructor({ folder, command = ['bird'], onTrouble = () => {} }: BirdOptions) {
    this.socket = join(folder, 'bird.ctl')
    this.#file = join(folder, 'bird.conf')
    this.#pidFile = join(folder, 'bird.pid')
    this.#command = command
    this.#onTrouble = onTrouble
  }

  /** Whether BIRD lives and answers. */
  get up(): boolean {
    return this.#connection !== undefined
  }

  /**
   * Makes a configuration the one in force, and starts BIRD with the first. What BIRD cannot read is refused with a
   * `BirdConfigError`, and the one before stays, in BIRD and on disk.
   */
  async apply(config: string): Promise<void> {
    if (this.#stopping.signal.aborted) throw new Error('this BIRD was ended')
    if (config === this.#config) return
    const fresh = `${this.#file}.new`
    // Passwords stand in it.
    await writeFile(fresh, config, { mode: 0o600 })
    await this.#check(fresh, config)
    await rename(fresh, this.#file)
    this.#config = config
    if (this.up) await askBird(this.socket, 'configure')
    else if (this.#life === undefined) await this.#begin()
  }

  /** The check by a process of its own needs no BIRD that runs. */
  async #check(file: string, config: string): Promise<void> {
    try {
      if (this.up) await askBird(this.socket, `configure check "${file}"`)
      else await run(this.#command[0]!, [...this.#command.slice(1), '-p', '-c', file])
    } catch (error) {
      await rm(file, { force: true })
      if (error instanceof BirdRefusal) throw new BirdConfigError(replyText(error.reply), config)
      const said = (error as { stderr?: string }).stderr?.trim()
      throw said ? new BirdConfigError(said, config) : error
    }
  }

  /** Its protocols with their sessions and routes, as they are now. */
  async protocols(): Promise<BirdProtocol[]> {
    return parseProtocols(await askBird(this.socket, 'show protocols all'))
  }

  /** Takes over a BIRD that an earlier agent left, or starts one; resolves when it answers. */
  async #begin(): Promise<void> {
    const left = await connectBird(this.socket).catch(() => undefined)
    if (left !== undefined) {
      this.#connection = left
      await askBird(this.socket, 'configure')
    } else {
      // One that ended in order took its file away; one that was killed has left routes that packets take right now.
      await this.#start(existsSync(this.#pidFile))
    }
    this.#life = this.#keepAlive()
  }

  /** Waits for the end of each BIRD and starts the next, for as long as nobody stops it. */
  async #keepAlive(): Promise<void> {
    const { signal } = this.#stopping
    let wait = FIRST_WAIT
    while (!signal.aborted) {
      const began = performance.now()
      if (this.#connection !== undefined) await closed(this.#connection)
      this.#connection = undefined
      if (signal.aborted) return
      if (performance.now() - began > HEALTHY_AFTER) wait = FIRST_WAIT
      this.#onTrouble(`BIRD ended; starting it again in ${wait} ms`)
      await delay(wait, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      wait = Math.min(LONGEST_WAIT, 2 * wait)
      await this.#start(true).catch(error => this.#onTrouble(String(error.message)))
    }
  }

  /** `recover`: keep the routes in the kernel until the peers have told theirs again (RFC 4724). */
  async #start(recover: boolean): Promise<void> {
    const args = ['-f', '-c', this.#file, '-s', this.socket, '-P', this.#pidFile, ...(recover ? ['-R'] : [])]
    // Not our process group: Ctrl-C is for the one who started us, and he ends BIRD in order.
    const child = spawn(this.#command[0]!, [...this.#command.slice(1), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    })
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', chunk => {
      said = `${said}${chunk}`.slice(-2000)
    })
    const ended = childEnd(child)
    const deadline = performance.now() + PATIENCE
    for (;;) {
      this.#connection = await connectBird(this.socket).catch(() => undefined)
      if (this.#connection !== undefined) break
      const end = await Promise.race([ended, delay(20)])
      if (end !== undefined) throw new Error(`BIRD did not start (${end}): ${said.trim() || 'it said nothing'}`)
      if (performance.now() > deadline) {
        child.kill('SIGKILL')
        throw new Error(`BIRD started but does not answer at ${this.socket}`)
      }
    }
    // An agent that ends may leave BIRD behind: nothing of it shall hold the agent.
    child.unref()
    ;(child.stderr as unknown as net.Socket).unref()
  }

  /**
   * Ends BIRD and waits until it is gone. Its routes stay in the kernel. With `graceful` the peers are told that it
   * comes back, and keep theirs too.
   */
  async stop({ graceful = false } = {}): Promise<void> {
    this.#stopping.abort()
    const connection = this.#connection
    if (connection !== undefined) {
      const pid = Number(await readFile(this.#pidFile, 'utf8').catch(() => ''))
      // It may be gone before its reply is.
      await askBird(this.socket, graceful ? 'graceful restart' : 'down').catch(() => {})
      const gone = await Promise.race([closed(connection).then(() => true), delay(PATIENCE, false)])
      if (!gone && pid > 0) process.kill(pid, 'SIGKILL')
      await closed(connection)
    }
    await this.#life
  }

  /** Lets go of BIRD without ending it, for an agent that makes room for the next. */
  async leave(): Promise<void> {
    this.#stopping.abort()
    this.#connection?.destroy()
    await this.#life
  }
}

/** The end of a connection, also of one that has ended before. */
function closed(socket: net.Socket): Promise<void> {
  socket.on('error', () => {})
  socket.resume()
  return socket.closed ? Promise.resolve() : new Promise(resolve => socket.once('close', () => resolve()))
}

const childEnd = (child: ChildProcess): Promise<string> =>
  new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
