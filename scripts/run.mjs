// What the scripts share: where the project is, the search path of everything they start, and how they fail.
// Plain JavaScript for the system's Node (18 or later): it runs before Node 26 is installed.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const NPM_BIN = join(ROOT, 'node_modules', '.bin')

/** The packaged Node 26. Always called by its path: a shell remembers where it found the other one. */
export const NODE = join(NPM_BIN, 'node')

// node_modules/.bin first, so that tools with `#!/usr/bin/env node` get Node 26; the sbin folders because `su` leaves them out.
const FOLDERS = [NPM_BIN, ...(process.env.PATH ?? '').split(delimiter).filter(f => f !== ''), '/usr/sbin', '/sbin']
const PATH = [...new Set(FOLDERS)].join(delimiter)
export const ENVIRONMENT = { ...process.env, PATH }

/** A failure that the user can mend: one sentence of what is wrong and one of the fix. */
export class SetUpError extends Error {
  constructor(what, fix) {
    super(`${what} ${fix}`.trim())
    this.name = 'SetUpError'
  }
}

/** Where a program is, or `undefined`. The system's folders only: what npm brings is not what a Debian package brings. */
export function findProgram(name) {
  for (const folder of PATH.split(delimiter)) {
    if (folder === NPM_BIN) continue
    try {
      accessSync(join(folder, name), constants.X_OK)
      return join(folder, name)
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}

/** Runs a program to its end and returns its exit code and what it printed. A program that cannot be started gives code 127. */
export function run(program, args, options = {}) {
  const result = spawnSync(program, args, { cwd: ROOT, env: ENVIRONMENT, encoding: 'utf8', ...options })
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`
  if (result.error) return { code: 127, output: String(result.error.message) }
  return { code: result.status ?? 128, output }
}

/** Runs a TypeScript program under the packaged Node with the terminal and the signals passed through; gives its exit code. */
export function runInForeground(file, args) {
  const child = spawn(NODE, [file, ...args], { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' })
  // A terminal sends Ctrl-C to both processes; this one only stays until the other has cleaned up and ended.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)))
  })
}

/** The last lines of a program's output, indented, for an error that has to show it. */
export const lastLines = (output, count = 15) =>
  `\n${output
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map(line => `  ${line}`)
    .join('\n')}`

/** Runs a script's main function; a `SetUpError` prints as its one sentence, and any failure makes the exit code 1. */
export async function main(body) {
  try {
    process.exitCode = await body()
  } catch (error) {
    console.error(error instanceof SetUpError ? `[set-up] ${error.message}` : error)
    process.exitCode = 1
  }
}
