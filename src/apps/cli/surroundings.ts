// What commands may touch, and the flags and steps that they share.
import type { Command } from 'commander'
import { StoreError } from '../../io/store/store.ts'
import type { Agents } from './agents.ts'
import type { Client } from './client.ts'
import type { Chosen } from './connect.ts'
import { type Inputs, readInputs } from './input.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type Surroundings = {
  readonly terminal: Terminal
  /** Opens the datastore; throws a CommandError if there is none. */
  readonly connect: (chosen?: Chosen) => Promise<Client>
  readonly agents: Agents
  readonly version: string
}

/** Opens the datastore for one use. */
export async function withClient<T>({ connect }: Surroundings, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect()
  try {
    return await use(client)
  } catch (error) {
    if (error instanceof StoreError && error.code === 'unavailable') {
      throw new CommandError(`the datastore does not answer: ${error.message}`)
    }
    throw error
  } finally {
    client.close()
  }
}

/** The end of a command's help. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map(line => `  ${line}\n`).join('')}`

const collect = (value: string, before: readonly string[]): string[] => [...before, value]

export type FileOptions = {
  readonly filename: readonly string[]
  readonly recursive?: boolean
  readonly skipEmpty?: boolean
  readonly namespace?: string
}

/** Flags that every command with -f has. */
export const withFiles = (command: Command): Command =>
  command
    .option(
      '-f, --filename <file>',
      'file or directory with YAML or JSON, - for standard input; may be repeated',
      collect,
      [],
    )
    .option('-R, --recursive', 'go into the directories of a directory')
    .option('--skip-empty', 'an input without resources is no error')
    .option('-n, --namespace <namespace>', 'namespace of resources that name none (default)')

/** What -f leads to; undefined if that is nothing and nothing is fine. Throws if there is no -f. */
export async function inputsOf(
  { filename, recursive = false, skipEmpty = false }: FileOptions,
  terminal: Terminal,
): Promise<Inputs | undefined> {
  if (filename.length === 0) throw new CommandError('no input (fix: -f FILE, or -f - for standard input)')
  const read = await readInputs(filename, { recursive, stdin: terminal.stdin })
  if (read.documents.length > 0 || read.mistakes.length > 0) return read
  if (!skipEmpty) throw new CommandError(`no resources specified in ${filename.join(', ')}`)
  terminal.out('No resources specified\n')
  return undefined
}
