// The datastore as a process: `main.ts --file gingham.db --socket /run/gingham/datastore.sock`. Says one line on stdout
// when it can be used, logs JSON lines to stderr, ends cleanly on SIGTERM or SIGINT.
import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { Command, InvalidArgumentError } from 'commander'
import { destination, pino } from 'pino'
import { Engine } from './engine.ts'
import { DatastoreServer } from './server.ts'

type Options = { file: string; socket: string; history: number; logLevel: string }

const LEVELS = ['debug', 'info', 'warn', 'error']

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('a whole number from 1 to 999999999.')
  return Number(text)
}

function level(text: string): string {
  if (!LEVELS.includes(text)) throw new InvalidArgumentError(`one of ${LEVELS.join(', ')}.`)
  return text
}

const command = new Command('gingham-datastore')
  .description('Serves one SQLite file as a datastore with revisions, compare-and-set and watch on a unix socket.')
  .requiredOption('--file <path>', 'the SQLite file; created if absent')
  .requiredOption('--socket <path>', 'the unix socket to serve')
  .option('--history <revisions>', 'revisions of history to keep for watchers', wholeNumber, 100_000)
  .option('--log-level <level>', LEVELS.join(', '), level, 'info')

/** Whether a process answers on the socket. */
const isServed = (path: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(path)
    const done = (served: boolean) => {
      socket.destroy()
      resolve(served)
    }
    socket.on('connect', () => done(true))
    socket.on('error', () => done(false))
  })

/** Removes the socket that a killed server left; anything else in its place is refused. */
async function clearSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw new Error(`${path} exists and is no socket`)
  if (await isServed(path)) throw new Error(`another process serves ${path}`)
  rmSync(path)
}

function openEngine(file: string): Engine {
  try {
    return new Engine(file)
  } catch (error) {
    // SQLITE_BUSY: the exclusive lock of a live server.
    if (error instanceof Error && 'errcode' in error && error.errcode === 5) {
      throw new Error(`another live process holds ${file}`)
    }
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

async function main(): Promise<void> {
  const { file, socket, history, logLevel } = command.parse().opts<Options>()
  const log = pino({ level: logLevel, base: { pid: process.pid } }, destination({ dest: 2, sync: true }))
  process.umask(0o077)
  const fail = (error: unknown): never => {
    log.fatal({ place: 'datastore/main', err: error }, error instanceof Error ? error.message : String(error))
    process.exit(1)
  }
  process.on('uncaughtException', fail)
  // The order matters: only the holder of the file's lock may take the socket's place.
  const engine = openEngine(file)
  await clearSocket(socket)
  const server = new DatastoreServer({ engine, log, historyLimit: history, fatal: fail })
  let ending = false
  const end = (signal: NodeJS.Signals) => {
    if (ending) return
    ending = true
    log.info({ place: 'datastore/main', signal }, 'ending')
    server.close().then(() => process.exit(0), fail)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  await server.listen(socket)
  log.info({ place: 'datastore/main', file, socket, revision: engine.revision }, 'ready')
  // Whoever waited for the line may have gone since; the datastore goes on.
  process.stdout.on('error', () => {})
  process.stdout.write(`ready socket=${socket} revision=${engine.revision}\n`)
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${JSON.stringify({ level: 60, place: 'datastore/main', msg: error instanceof Error ? error.message : String(error) })}\n`,
  )
  process.exit(1)
})
