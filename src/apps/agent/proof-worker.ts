// The proof, in a thread of its own: it keeps its own copy of the resources, calculates the intent plainly from all of them
// (not by the parts that wrote the table), reads the whole ruleset of the kernel, and compares what the two mean.
import { parentPort, workerData } from 'node:worker_threads'
import { applyChanges, type Change } from '../../core/base/change.ts'
import { computeIntent } from '../../core/calc/compute.ts'
import type { InterfaceChange } from '../../core/calc/host-interfaces.ts'
import type { Addr } from '../../core/net/addr.ts'
import { printDifference } from '../../core/proof/difference.ts'
import { decodeRuleset } from '../../core/proof/model.ts'
import { prove } from '../../core/proof/prove.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Resource } from '../../core/resources/resource.ts'
import { RawRulesetReader } from '../../io/kernel/raw-ruleset.ts'

export type ProofChanges = {
  readonly changes: readonly Change<ResourceKey, Resource>[]
  readonly interfaces: readonly InterfaceChange[]
}
export type ProofRequest =
  | ({ readonly kind: 'changes' } & ProofChanges)
  | { readonly kind: 'prove'; readonly revision: number }

export type ProofAnswer = {
  /** The revision of the resources that the ruleset was compared with. */
  readonly revision: number
  readonly proved: boolean
  readonly classes: number
  /** In words, with a packet each. */
  readonly differences: readonly string[]
  readonly notUnderstood: readonly string[]
  readonly ms: number
  /** The proof itself failed. */
  readonly error?: string
}

const resources = new Map<ResourceKey, Resource>()
const interfaces = new Map<string, readonly Addr[]>()
const { node } = workerData as { node: string }

function answer(revision: number): ProofAnswer {
  const began = performance.now()
  try {
    const intent = computeIntent(resources, node, interfaces)
    using reader = new RawRulesetReader()
    const proof = prove(decodeRuleset(reader.read()), intent)
    return {
      revision,
      proved: proof.proved,
      classes: proof.classes,
      differences: proof.differences.map(printDifference),
      notUnderstood: proof.notUnderstood,
      ms: performance.now() - began,
    }
  } catch (error) {
    const failed = { revision, proved: false, classes: 0, differences: [], notUnderstood: [] }
    return { ...failed, ms: performance.now() - began, error: (error as Error).message }
  }
}

parentPort!.on('message', (request: ProofRequest) => {
  if (request.kind === 'changes') {
    applyChanges(resources, request.changes)
    applyChanges(interfaces, request.interfaces)
  } else parentPort!.postMessage(answer(request.revision))
})
