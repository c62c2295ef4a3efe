// The versions of the CNI specification that we speak, oldest first, and what each brought that matters here.
import { printCompact } from './print.ts'

export const CNI_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
export type CniVersion = (typeof CNI_VERSIONS)[number]

/** A configuration without a version is of the first (specification 0.1.0, "cniVersion"). */
export const OLDEST: CniVersion = '0.1.0'
export const NEWEST: CniVersion = '1.1.0'

export const isCniVersion = (text: unknown): text is CniVersion => CNI_VERSIONS.some(version => version === text)

/** Whether `version` is `since` or later. */
export const isAtLeast = (version: CniVersion, since: CniVersion): boolean =>
  CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(since)

export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'VERSION', 'GC', 'STATUS'] as const
export type Command = (typeof COMMANDS)[number]

/** The version that brought a command. VERSION itself needs no common version: it is how one is found. */
export const COMMAND_SINCE: Readonly<Record<Command, CniVersion>> = {
  ADD: '0.1.0',
  DEL: '0.1.0',
  VERSION: '0.1.0',
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
}

/** The answer to VERSION, as JSON text. */
export const printVersions = (version: CniVersion): string =>
  printCompact({ cniVersion: version, supportedVersions: CNI_VERSIONS })
