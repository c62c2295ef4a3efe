// The proof, in a thread of its own: it keeps its own copy of the resources, calculates the intent plainly from all of them
// (not by the parts that wrote the table), reads the whole ruleset of the kernel, and compares what the two mean.
import { readlinkSync } from 'node:fs'
import os from 'node:os'
import { basename } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { applyChanges, type Change } from '../../core/base/change.ts'
import { NFT_TABLE } from '../../core/base/register.ts'
import { computeIntent } from '../../core/calc/compute.ts'
import type { InterfaceChange } from '../../core/calc/host-interfaces.ts'
import type { Addr } from '../../core/net/addr.ts'
import { printDifference } from '../../core/proof/difference.ts'
import { decodeRuleset } from '../../core/proof/model.ts'
import { prove } from '../../core/proof/prove.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Resource } from '../../core/resources/resource.ts'
import { RawRulesetReader } from '../../io/kernel/raw-ruleset.ts'
import { type ReadBack, readBack } from './read-back.ts'

/** Of whose ruleset it is. */
export type ProofData = { readonly node: string; readonly canary: boolean }

export type ProofChanges = {
  readonly changes: readonly Change<ResourceKey, Resource>[]
  readonly interfaces: readonly InterfaceChange[]
}
export type ProofRequest =
  | ({ readonly kind: 'changes' } & ProofChanges)
  | { readonly kind: 'prove'; readonly revision: number; readonly writes: number }

export type ProofAnswer = {
  /** The revision of the resources that the ruleset was compared with. */
  readonly revision: number
  readonly proved: boolean
  readonly classes: number
  /** In words, with a packet each. */
  readonly differences: readonly string[]
  readonly notUnderstood: readonly string[]
  readonly ms: number
  /** How our table was found, and how much the asker had written when it asked. */
  readonly readBack?: ReadBack
  readonly writes: number
  /** The proof itself failed. */
  readonly error?: string
}

/** Who waits for a packet or a pod goes first: to Linux a thread has a priority of its own. */
const NICE = 10
os.setPriority(Number(basename(readlinkSync('/proc/thread-self'))), NICE)

const resources = new Map<ResourceKey, Resource>()
const interfaces = new Map<string, readonly Addr[]>()
const { node, canary } = workerData as ProofData

function answer(revision: number, writes: number): ProofAnswer {
  const began = performance.now()
  let read: ReadBack | undefined
  try {
    // First what moves on: the resources stand still here until this is done.
    using reader = new RawRulesetReader()
    const raw = reader.read()
    read = readBack(raw, NFT_TABLE)
    const proof = prove(decodeRuleset(raw), computeIntent(resources, node, interfaces, { canary }))
    return {
      revision,
      writes,
      readBack: read,
      proved: proof.proved,
      classes: proof.classes,
      differences: proof.differences.map(printDifference),
      notUnderstood: proof.notUnderstood,
      ms: performance.now() - began,
    }
  } catch (error) {
    const failed = {
      revision,
      writes,
      ...(read && { readBack: read }),
      proved: false,
      classes: 0,
      differences: [],
      notUnderstood: [],
    }
    return { ...failed, ms: performance.now() - began, error: (error as Error).message }
  }
}

parentPort!.on('message', (request: ProofRequest) => {
  if (request.kind === 'changes') {
    applyChanges(resources, request.changes)
    applyChanges(interfaces, request.interfaces)
  } else parentPort!.postMessage(answer(request.revision, request.writes))
})
