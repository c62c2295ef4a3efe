// Another plugin asked in our stead, as the specification's "delegation" has it: found where the runtime keeps its plugins,
// the call's variables in its environment, the configuration on its standard input, a result or an error on its output.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { CNI_ERROR, CniError, type CniErrorCode } from '../../core/cni/error.ts'
import { printCompact } from '../../core/cni/print.ts'

/** It takes milliseconds; one that hangs must not hold its pod for ever. */
const TIMEOUT_MS = 30_000

export type Delegate = {
  readonly plugin: string
  /** CNI_PATH: folders, with colons between them. */
  readonly pluginPath: string
  /** The CNI_* variables of the call, CNI_PATH excepted. */
  readonly variables: Readonly<Record<string, string>>
  readonly config: object
}

function findPlugin(plugin: string, pluginPath: string): string {
  const found = pluginPath.split(':').flatMap(folder => (folder === '' ? [] : [path.join(folder, plugin)]))
  const program = found.find(file => existsSync(file))
  if (program !== undefined) return program
  const where = pluginPath === '' ? 'CNI_PATH is not set' : `not in ${pluginPath}`
  throw new CniError(CNI_ERROR.TRY_AGAIN, `there is no plugin ${plugin} where the agent looks`, where)
}

/** What it printed, decoded; undefined if nothing. Its failure as a CniError with its own number. */
export async function runDelegate({ plugin, pluginPath, variables, config }: Delegate): Promise<unknown> {
  const program = findPlugin(plugin, pluginPath)
  const env = { ...variables, CNI_PATH: pluginPath, PATH: process.env.PATH ?? '' }
  const { code, stdout, stderr } = await run(program, env, printCompact(config))
  const printed = stdout.trim() === '' ? undefined : parse(stdout)
  if (code === 0) return printed
  const failure = (printed ?? {}) as { readonly code?: unknown; readonly msg?: unknown; readonly details?: unknown }
  const number = typeof failure.code === 'number' ? failure.code : CNI_ERROR.INTERNAL
  const message = typeof failure.msg === 'string' ? failure.msg : stderr.trim() || `it ended with code ${code}`
  const details = typeof failure.details === 'string' ? failure.details : ''
  throw new CniError(number as CniErrorCode, `${plugin}: ${message}`, details)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type Ended = { readonly code: number | string; readonly stdout: string; readonly stderr: string }

function run(program: string, env: NodeJS.ProcessEnv, input: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, { env, cwd: '/', timeout: TIMEOUT_MS, killSignal: 'SIGKILL' })
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.once('error', reject)
    child.once('close', (code, signal) =>
      resolve({ code: code ?? `${signal}`, stdout: String(Buffer.concat(out)), stderr: String(Buffer.concat(err)) }),
    )
    // One that does not read its input says on its output why.
    child.stdin.on('error', () => {}).end(input)
  })
}
