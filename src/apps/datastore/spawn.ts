// Starts the datastore as a child process and waits for its ready line: for tests, benches and the lab.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))

export type Datastore = {
  /** Rejects with the log if the process ends before it is ready. */
  readonly ready: Promise<void>
  readonly process: ChildProcess
  readonly socket: string
  readonly file: string
  /** Sends the signal (SIGTERM unless told) and waits; gives the exit code, or the signal that ended it. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>
  /** What it has logged so far. */
  readonly log: () => string
}

/** Starts a server on `<directory>/store.db` and `<directory>/store.sock`, without waiting for it. */
export function spawnDatastore(directory: string, args: readonly string[] = []): Datastore {
  const file = join(directory, 'store.db')
  const socket = join(directory, 'store.sock')
  const child = spawn(process.execPath, [MAIN, '--file', file, '--socket', socket, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    log += text
  })
  const exit = new Promise<number | NodeJS.Signals | null>(resolve => {
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  const ready = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    exit.then(code => reject(new Error(`the datastore ended (${code}) before it was ready: ${log}`)))
    child.stdout.once('data', () => resolve())
  })
  ready.catch(() => {})
  const stop = (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    return exit
  }
  return { ready, process: child, socket, file, stop, log: () => log }
}

/** `spawnDatastore`, ready. */
export async function startDatastore(directory: string, args: readonly string[] = []): Promise<Datastore> {
  const datastore = spawnDatastore(directory, args)
  await datastore.ready
  return datastore
}

export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `gingham-${process.pid}-`))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}
