// apply, create, replace, delete and validate: first everything is read and judged, with every mistake told at once, and
// only then is anything written, in an order in which nothing refers to what is not there yet.
import { summarize, type Verb } from '../../core/explain/summary.ts'
import { survey, warnings } from '../../core/explain/warnings.ts'
import { type ResourceKey, resourceKey, splitKey } from '../../core/resources/cause.ts'
import { derived } from '../../core/resources/derive.ts'
import {
  checkKind,
  documentKind,
  find,
  KINDS,
  type Kind,
  keyOf,
  type Resource,
  type Snapshot,
} from '../../core/resources/resource.ts'
import { ensureInitialized } from '../../io/store/initialize.ts'
import { identify, ResourceError } from '../../io/store/resource-error.ts'
import { StoreError } from '../../io/store/store.ts'
import type { Client } from './client.ts'
import { crossProblems, crossWarnings } from './cross-problems.ts'
import { type Inputs, type Mistake, mistakesOf, printMistake } from './input.ts'
import { headOf, inWriteOrder, judge, namespaceProblem, type Wanted } from './judge.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type WriteAction = 'apply' | 'create' | 'replace'

export type WriteOptions = {
  readonly namespace?: string | undefined
  /** Writes the good documents of an input that also has bad ones. */
  readonly allowPartial: boolean
  /** create: what exists already is no error. */
  readonly skipExists?: boolean
}

const PAST = {
  apply: 'applied',
  create: 'created',
  replace: 'replaced',
  delete: 'deleted',
  validate: 'validated',
} as const
type Action = keyof typeof PAST

const quoted = (kinds: ReadonlySet<string>): string => (kinds.size === 1 ? `'${[...kinds][0]}' ` : '')

/** What went wrong with one resource; anything else is a bug, or the datastore went away. */
function failure(error: unknown): string {
  if (error instanceof ResourceError) return error.message
  if (error instanceof StoreError && error.code === 'invalid') return error.message
  throw error
}

/** Calico's closing words for a number of writes, some of which may have failed. */
function conclude(
  action: Action,
  handled: readonly Kind[],
  errors: readonly { kind: Kind; text: string }[],
  terminal: Terminal,
): void {
  const kinds = new Set<string>([...handled, ...errors.map(({ kind }) => kind)].map(documentKind))
  const texts = errors.map(({ text }) => text)
  const total = handled.length + errors.length
  if (action === 'delete') {
    if (handled.length > 0)
      terminal.out(`Successfully deleted ${handled.length} ${quoted(new Set(handled.map(documentKind)))}resource(s)\n`)
    if (errors.length > 0)
      throw new CommandError(
        errors.map(e => `Failed to delete '${documentKind(e.kind)}' resource: ${e.text}`).join('\n'),
      )
    return
  }
  if (errors.length === 0) {
    terminal.out(`Successfully ${PAST[action]} ${total} ${quoted(kinds)}resource(s)\n`)
    return
  }
  const list = action === 'replace' ? texts.at(-1)! : `[${texts.join(' ')}]`
  if (handled.length === 0) {
    const what = total === 1 ? `${quoted(kinds)}resource` : `any ${quoted(kinds)}resources`
    throw new CommandError(`failed to ${action} ${what}: ${list}`)
  }
  if (handled.length > errors.length) {
    terminal.out(
      `Partial success: ${PAST[action]} the first ${handled.length} out of ${total} ${quoted(kinds)}resources:\n`,
    )
  }
  throw new CommandError(`hit error: ${list}`)
}

/** Tells all mistakes; throws unless the rest may be written all the same. */
function refuse(
  mistakes: readonly Mistake[],
  { allowPartial }: { readonly allowPartial: boolean },
  terminal: Terminal,
): void {
  if (mistakes.length === 0) return
  for (const mistake of mistakes) terminal.err(`${printMistake(mistake)}\n`)
  const count = `${mistakes.length} ${mistakes.length === 1 ? 'mistake' : 'mistakes'}`
  if (allowPartial) terminal.err(`${count} passed over, because of --allow-partial\n`)
  else throw new CommandError(`failed to execute command: ${count}, nothing was written`)
}

const union = (snapshot: Snapshot, wanted: readonly Wanted[]): Snapshot =>
  new Map([...snapshot, ...wanted.map(({ resource }) => [keyOf(resource), resource] as const)])

/** Judges an input beside what is stored, and writes it. */
export async function write(action: WriteAction, inputs: Inputs, context: WriteContext): Promise<void> {
  const { client, terminal, options } = context
  const judged = judge(inputs, options.namespace)
  const { resources: stored } = await client.read()
  const after = union(stored, judged.wanted)
  const crossing = judged.wanted.map(wanted => mistakesOf(wanted.document, crossProblems(wanted.resource, after)))
  refuse([...judged.mistakes, ...crossing.flat()], options, terminal)
  const wanted = inWriteOrder(judged.wanted.filter((_, i) => crossing[i]!.length === 0))
  if (wanted.length === 0) throw new CommandError('no resources specified')
  // The first write of all makes what must be there: the built-in tiers and the cluster's own record.
  if (!find(stored, 'Tier', { name: 'default' })) await ensureInitialized(client.resources, { defaultPool: false })
  const handled: Kind[] = []
  const errors: { kind: Kind; text: string }[] = []
  const surroundings = survey(after)
  const warned = new Set<string>()
  const results = await inBatches(wanted, ({ resource }) =>
    writeOne(action, resource, stored.get(keyOf(resource)), context),
  )
  for (const [i, { resource, document }] of wanted.entries()) {
    const result = results[i]!
    if (result.error !== undefined) {
      errors.push({ kind: resource.kind, text: result.error })
      continue
    }
    handled.push(resource.kind)
    terminal.err(`${summarize(resource, result.verb, after)}\n`)
    // A namespace that is missing is missing for all of its resources alike: once is enough.
    const shared = crossWarnings(resource, after).filter(({ message }) => !warned.has(message))
    for (const { message } of shared) warned.add(message)
    const surprises = mistakesOf(document, [...warnings(resource, surroundings), ...shared])
    for (const mistake of surprises) terminal.err(`warning: ${printMistake(mistake)}\n`)
  }
  conclude(action, handled, errors, terminal)
}

/** Writes that are on their way at once. */
const CONCURRENT = 32

/** Resources of one kind do not refer to each other, so they are written side by side; kinds one after the other. */
async function inBatches<T>(wanted: readonly Wanted[], use: (one: Wanted) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  while (next < wanted.length) {
    const { kind } = wanted[next]!.resource
    let end = next
    while (end < wanted.length && end - next < CONCURRENT && wanted[end]!.resource.kind === kind) end++
    results.push(...(await Promise.all(wanted.slice(next, end).map(use))))
    next = end
  }
  return results
}

export type WriteContext = {
  readonly client: Client
  readonly terminal: Terminal
  readonly options: WriteOptions
}

type Written = { readonly verb: Verb; readonly error?: undefined } | { readonly error: string }

async function writeOne(
  action: WriteAction,
  resource: Resource,
  found: Resource | undefined,
  { client: { resources }, options }: WriteContext,
): Promise<Written> {
  try {
    const written = await resources[action](found ? keepStatus(resource, found) : resource)
    if (!found) return { verb: 'created' }
    return { verb: written.metadata.resourceVersion === found.metadata.resourceVersion ? 'unchanged' : 'updated' }
  } catch (error) {
    const exists = error instanceof ResourceError && error.code === 'exists'
    return exists && options.skipExists ? { verb: 'unchanged' } : { error: failure(error) }
  }
}

const CNI_ANNOTATION = 'cni.projectcalico.org/'

/** What a running pod has from the node is not the user's to take away: its status and the annotations of the CNI plugin. */
function keepStatus(resource: Resource, found: Resource): Resource {
  if (resource.kind !== 'Pod' || found.kind !== 'Pod') return resource
  const own = Object.entries(found.metadata.annotations ?? {}).filter(([key]) => key.startsWith(CNI_ANNOTATION))
  const annotations = { ...Object.fromEntries(own), ...resource.metadata.annotations }
  return {
    ...resource,
    metadata: { ...resource.metadata, ...(Object.keys(annotations).length > 0 && { annotations }) },
    ...(resource.status === undefined && found.status !== undefined && { status: found.status }),
  }
}

/** Judges an input and says what it would do, without a datastore. */
export function validate(inputs: Inputs, namespace: string | undefined, terminal: Terminal): void {
  const { wanted, mistakes } = judge(inputs, namespace)
  for (const mistake of mistakes) terminal.err(`${printMistake(mistake)}\n`)
  for (const { resource, document } of wanted) {
    terminal.err(`${summarize(resource, 'valid', union(new Map(), wanted))}\n`)
    for (const mistake of mistakesOf(document, warnings(resource))) terminal.err(`warning: ${printMistake(mistake)}\n`)
  }
  if (mistakes.length > 0)
    throw new CommandError(`${mistakes.length} ${mistakes.length === 1 ? 'mistake' : 'mistakes'} found`)
  if (wanted.length === 0) throw new CommandError('no resources specified')
  conclude(
    'validate',
    wanted.map(({ resource }) => resource.kind),
    [],
    terminal,
  )
}

export type DeleteContext = {
  readonly client: Client
  readonly terminal: Terminal
  readonly skipNotExists: boolean
}

/** The keys that an input names; beyond kind, apiVersion and name its documents need not be valid. */
export function keysOf(inputs: Inputs, namespace: string | undefined, terminal: Terminal): ResourceKey[] {
  const mistakes: Mistake[] = [...inputs.mistakes]
  const keys: ResourceKey[] = []
  for (const document of inputs.documents) {
    const head = headOf(document.value)
    const problem =
      namespaceProblem(document.value, namespace) ?? checkKind(document.value as Readonly<Record<string, unknown>>)
    if (problem) mistakes.push(...mistakesOf(document, [problem]))
    else if (head?.name === undefined)
      mistakes.push(...mistakesOf(document, [{ path: 'metadata.name', message: 'is required' }]))
    else
      keys.push(
        resourceKey(
          head.kind,
          KINDS[head.kind].namespaced ? (head.namespace ?? namespace ?? 'default') : undefined,
          head.name,
        ),
      )
  }
  refuse(mistakes, { allowPartial: false }, terminal)
  if (keys.length === 0) throw new CommandError('no resources specified')
  // What was written last goes first.
  return keys.reverse()
}

export async function remove(
  keys: readonly ResourceKey[],
  { client, terminal, skipNotExists }: DeleteContext,
): Promise<void> {
  const handled: Kind[] = []
  const errors: { kind: Kind; text: string }[] = []
  for (const key of keys) {
    const kind = splitKey(key).kind as Kind
    try {
      const gone = await client.resources.delete(key)
      handled.push(kind)
      if (gone) terminal.err(`${summarize(gone, 'deleted')}\n`)
    } catch (error) {
      const missing = error instanceof ResourceError && error.code === 'not-found'
      if (missing && skipNotExists) handled.push(kind)
      else if (missing && derived((await client.read()).resources).has(key)) {
        const reason = 'it follows from a Pod, Namespace or ServiceAccount'
        errors.push({ kind, text: `operation Delete is not supported on ${identify(key)}: ${reason}` })
      } else errors.push({ kind, text: failure(error) })
    }
  }
  conclude('delete', handled, errors, terminal)
}
