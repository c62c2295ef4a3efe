// One call of the plugin: the CNI_* variables (as the client's headers) and the configuration (as the body), decoded into
// a value, or the failure that CNI has a number for.
import { ok, type Result } from '../base/problem.ts'
import { type CniArgs, parseArgs } from './args.ts'
import { decodeConfig, type NetworkConfig } from './config.ts'
import { CNI_ERROR, CniError, type CniErrorCode, problemsError } from './error.ts'
import { type CniResult, decodeResult } from './result.ts'
import {
  type CniVersion,
  COMMAND_SINCE,
  COMMANDS,
  type Command,
  isAtLeast,
  isCniVersion,
  NEWEST,
  OLDEST,
} from './version.ts'

export type Attachment = {
  readonly containerId: string
  /** Path of the container's network namespace; DEL may come without. */
  readonly netns: string | undefined
  /** Name of the interface inside. */
  readonly ifName: string
  readonly args: CniArgs
}

type Base = {
  readonly version: CniVersion
  /** Where the runtime keeps its plugins: folders, with colons between them. */
  readonly pluginPath: string
}
export type AddRequest = Base & {
  readonly command: 'ADD' | 'CHECK'
  readonly config: NetworkConfig
  readonly attachment: Attachment & { readonly netns: string }
  readonly prevResult: CniResult | undefined
}
export type DelRequest = Base & {
  readonly command: 'DEL'
  readonly config: NetworkConfig
  readonly attachment: Attachment
  /** What ADD answered, if that is told and can be read. */
  readonly prevResult: CniResult | undefined
}
export type NetworkRequest = Base & { readonly command: 'GC' | 'STATUS'; readonly config: NetworkConfig }
export type VersionRequest = Base & { readonly command: 'VERSION' }
export type CniRequest = AddRequest | DelRequest | NetworkRequest | VersionRequest

/** Lower-case names (`cni-containerid`) to percent-encoded values, as the client sends them. */
export type CniHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

export type DecodedRequest =
  | { readonly ok: true; readonly value: CniRequest }
  /** `version` is the one to print the failure in. */
  | { readonly ok: false; readonly error: CniError; readonly version: CniVersion }

/** Never throws. */
export function decodeRequest(headers: CniHeaders, body: string): DecodedRequest {
  let version: CniVersion = NEWEST
  try {
    const command = readCommand(headers)
    const document = readDocument(body, command)
    const claimed = document.cniVersion ?? (command === 'VERSION' ? NEWEST : OLDEST)
    if (isCniVersion(claimed)) version = claimed
    if (command === 'VERSION') return { ok: true, value: { command, version, pluginPath: '' } }
    if (!isCniVersion(claimed)) {
      throw new CniError(
        CNI_ERROR.INCOMPATIBLE_VERSION,
        'incompatible CNI versions',
        `config is ${JSON.stringify(claimed)}, plugin supports up to ${NEWEST}`,
      )
    }
    if (!isAtLeast(version, COMMAND_SINCE[command])) {
      const message = `${command} needs cniVersion ${COMMAND_SINCE[command]} or later, the configuration has ${version}`
      throw new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, message)
    }
    const config = taken(decodeConfig(document), CNI_ERROR.INVALID_CONFIG, 'the network configuration is not valid')
    return {
      ok: true,
      value: readRequest(command, { headers, config, version, pluginPath: readVariable(headers, 'CNI_PATH') }),
    }
  } catch (error) {
    if (error instanceof CniError) return { ok: false, error, version }
    throw error
  }
}

function taken<T>(result: Result<T>, code: CniErrorCode, what: string): T {
  if (result.ok) return result.value
  throw problemsError(code, what, result.problems)
}

function readVariable(headers: CniHeaders, variable: string): string {
  const given = headers[variable.toLowerCase().replace('_', '-')] ?? ''
  const text = typeof given === 'string' ? given : given.join(', ')
  try {
    return decodeURIComponent(text)
  } catch {
    throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, `${variable} is not a text in UTF-8`, text)
  }
}

function readCommand(headers: CniHeaders): Command {
  const text = readVariable(headers, 'CNI_COMMAND')
  const command = COMMANDS.find(known => known === text)
  if (command !== undefined) return command
  const message = text === '' ? 'CNI_COMMAND is not set' : `unknown CNI_COMMAND: ${text}`
  throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, message, `known are ${COMMANDS.join(', ')}`)
}

type Fields = { readonly [key: string]: unknown }

function readDocument(body: string, command: Command): Fields {
  // VERSION must be answered whatever comes with it.
  const nothing = command === 'VERSION' ? {} : undefined
  let document: unknown
  try {
    document = JSON.parse(body)
  } catch (error) {
    if (nothing) return nothing
    const details = error instanceof Error ? error.message : ''
    throw new CniError(CNI_ERROR.DECODE, 'the network configuration is not JSON', details)
  }
  if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document as Fields
  if (nothing) return nothing
  throw new CniError(CNI_ERROR.DECODE, 'the network configuration is not a JSON object')
}

type Given = Base & { readonly headers: CniHeaders; readonly config: NetworkConfig }

function readRequest(command: Exclude<Command, 'VERSION'>, { headers, config, ...base }: Given): CniRequest {
  switch (command) {
    case 'GC':
      if (config.validAttachments === undefined) {
        // Taking absence for "none are valid" would release the addresses of every running pod.
        throw new CniError(CNI_ERROR.INVALID_CONFIG, 'GC needs cni.dev/valid-attachments in the configuration')
      }
      return { ...base, command, config }
    case 'STATUS':
      return { ...base, command, config }
    case 'DEL': {
      // Whatever became of the answer to ADD, the container must be able to go.
      const previous = readPrevious(config, base.version)
      const prevResult = previous.ok ? previous.value : undefined
      return { ...base, command, config, attachment: readAttachment(headers), prevResult }
    }
    default: {
      const attachment = readAttachment(headers)
      const { netns } = attachment
      if (netns === undefined) throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, 'CNI_NETNS is not set')
      const previous = readPrevious(config, base.version)
      return {
        ...base,
        command,
        config,
        attachment: { ...attachment, netns },
        prevResult: taken(previous, CNI_ERROR.DECODE, 'prevResult is not valid'),
      }
    }
  }
}

function readPrevious({ prevResult }: NetworkConfig, version: CniVersion): Result<CniResult | undefined> {
  return prevResult === undefined || prevResult === null ? ok(undefined) : decodeResult(prevResult, version)
}

/** The alphabets are the specification's; the container's ID becomes part of IPAM handles, the name one of an interface. */
function readAttachment(headers: CniHeaders): Attachment {
  const required = (variable: string, pattern: RegExp, rule: string): string => {
    const value = readVariable(headers, variable)
    if (value === '') throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, `${variable} is not set`)
    if (pattern.test(value)) return value
    throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, `${variable} ${JSON.stringify(value)} is not valid`, rule)
  }
  const containerId = required('CNI_CONTAINERID', /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$/, 'letters, digits, _ . - only')
  const ifName = required('CNI_IFNAME', /^(?!\.{1,2}$)[^/:\s\0]{1,15}$/, 'up to 15 characters without / : or spaces')
  const netns = readVariable(headers, 'CNI_NETNS') || undefined
  const args = parseArgs(readVariable(headers, 'CNI_ARGS'))
  return { containerId, ifName, netns, args: taken(args, CNI_ERROR.INVALID_ENVIRONMENT, 'CNI_ARGS is not valid') }
}
