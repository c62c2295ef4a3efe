// get: resources as tables, YAML, JSON or names. What follows from Kubernetes objects (endpoints of pods, profiles of
// namespaces) is shown like anything else.
import { type ResourceKey, resourceKey, splitKey } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import { findKind, KINDS, type Kind, type Resource, type Snapshot } from '../../core/resources/resource.ts'
import { notFound } from '../../io/store/resource-error.ts'
import type { Client } from './client.ts'
import { inPrintOrder, printTable } from './columns.ts'
import { type Output, printJson, printNames, printYaml } from './output.ts'
import { CommandError, type Terminal } from './terminal.ts'

export const FORMATS = ['ps', 'wide', 'yaml', 'yml', 'json', 'name'] as const
export type Format = (typeof FORMATS)[number]

export type GetOptions = {
  readonly output: string
  readonly namespace?: string | undefined
  readonly allNamespaces: boolean
}

/** What is asked for: a kind with or without names, or what a file names. */
export type Target =
  | { readonly kind: string; readonly names: readonly string[] }
  | { readonly keys: readonly ResourceKey[] }

const fail = (text: string): CommandError => new CommandError(`failed to get resources: ${text}`)

/** The kind that a person means, or the error that calicoctl gives; `verb` is what was to be done with it. */
export function kindOf(name: string, verb = 'get'): Kind {
  const kind = findKind(name)
  if (!kind) throw new CommandError(`failed to ${verb} resources: resource type '${name}' is not supported`)
  return kind
}

export function checkScope(kind: Kind, { namespace, allNamespaces }: Omit<GetOptions, 'output'>, verb = 'get'): void {
  const refuse = (text: string): CommandError => new CommandError(`failed to ${verb} resources: ${text}`)
  if (namespace !== undefined && allNamespaces) {
    throw refuse('cannot use both --namespace and --all-namespaces flags at the same time')
  }
  if (!KINDS[kind].namespaced && (namespace !== undefined || allNamespaces)) throw refuse(`${kind} is not namespaced`)
}

/** What else is read to show a kind: what it follows from, and what its columns tell of. */
const BESIDES: { readonly [kind in Kind]?: readonly Kind[] } = {
  WorkloadEndpoint: ['Pod'],
  Profile: ['Namespace', 'ServiceAccount'],
  Node: ['BGPConfiguration'],
}

const neededFor = (kinds: readonly Kind[]): readonly Kind[] => [
  ...new Set(kinds.flatMap(kind => [kind, ...(BESIDES[kind] ?? [])])),
]

export async function get(target: Target, context: GetContext): Promise<void> {
  const { client, terminal, options } = context
  const format = FORMATS.find(known => known === options.output)
  if (!format) throw new CommandError(`unrecognized output format '${options.output}'`)
  if (!('keys' in target)) {
    const kind = kindOf(target.kind)
    checkScope(kind, options)
    if (target.names.length > 0 && options.allNamespaces) {
      throw fail('cannot use --all-namespace flag for getting a single resource')
    }
  }
  const kinds = 'keys' in target ? target.keys.map(key => splitKey(key).kind as Kind) : [kindOf(target.kind)]
  const { resources, revision, problems } = await client.read(neededFor(kinds))
  const snapshot = derived(resources)
  if ('keys' in target) {
    printFound(target.keys, { format, snapshot, showNamespace: true, terminal })
  } else {
    const kind = kindOf(target.kind)
    const { namespaced } = KINDS[kind]
    const namespace = namespaced && !options.allNamespaces ? (options.namespace ?? 'default') : undefined
    const showNamespace = options.namespace !== undefined || options.allNamespaces
    if (target.names.length > 0) {
      const keys = target.names.map(name => resourceKey(kind, namespace, name))
      printFound(keys, { format, snapshot, showNamespace, terminal })
    } else {
      const all = [...snapshot.values()].filter(
        resource => resource.kind === kind && (namespace === undefined || resource.metadata.namespace === namespace),
      )
      const list = inPrintOrder(kind, all)
      print({ kind: 'list', of: kind, resources: list, revision }, { format, snapshot, showNamespace, terminal })
    }
  }
  for (const problem of problems) terminal.err(`${problem}\n`)
}

export type GetContext = { readonly client: Client; readonly terminal: Terminal; readonly options: GetOptions }

type PrintContext = {
  readonly format: Format
  readonly snapshot: Snapshot
  readonly showNamespace: boolean
  readonly terminal: Terminal
}

function printFound(keys: readonly ResourceKey[], context: PrintContext): void {
  const found = keys.flatMap(key => context.snapshot.get(key) ?? [])
  if (found.length > 0) print({ kind: 'named', resources: found }, context)
  const missing = keys.filter(key => !context.snapshot.has(key))
  if (missing.length > 0) throw fail(missing.map(key => notFound(key).message).join('\n'))
}

function print(output: Output, { terminal, ...context }: PrintContext): void {
  terminal.out(rendered(output, context))
}

function rendered(output: Output, { format, snapshot, showNamespace }: Omit<PrintContext, 'terminal'>): string {
  switch (format) {
    case 'yaml':
    case 'yml':
      return printYaml(output)
    case 'json':
      return printJson(output)
    case 'name':
      return printNames(output.resources)
    default: {
      const wide = format === 'wide'
      const kinds = output.kind === 'list' ? [output.of] : [...new Set(output.resources.map(r => r.kind))]
      const rows = (kind: Kind): Resource[] => output.resources.filter(resource => resource.kind === kind)
      return kinds.map(kind => printTable(kind, rows(kind), { wide, showNamespace, snapshot })).join('')
    }
  }
}
