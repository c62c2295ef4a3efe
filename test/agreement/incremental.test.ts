// The incremental calculation, classification and rendering against the plain ones: over random histories of changes, in any
// order and grouping, the wanted table must be, once it has settled, exactly the one that a recomputation gives.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Change } from '../../src/core/base/change.ts'
import { difference } from '../../src/core/base/change.ts'
import { LOG_GROUP } from '../../src/core/base/register.ts'
import { Calculator } from '../../src/core/calc/calculator.ts'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { Classifier } from '../../src/core/classify/classifier.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { type TableState, tableState, tableSums } from '../../src/core/nft/table-state.ts'
import { TableRenderer } from '../../src/core/render/nft/renderer.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { TableTracker } from '../../src/core/render/nft/tracker.ts'
import type { ResourceKey } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import type { Resource, Snapshot } from '../../src/core/resources/resource.ts'
import { cluster, HOST_INTERFACES } from './cluster.ts'

const plain = (state: TableState) => ({
  sets: Object.fromEntries(
    [...state.sets].map(([name, { elements }]) => [
      name,
      Object.fromEntries([...elements].map(([key, e]) => [key, JSON.stringify(e.value ?? null)]).sort()),
    ]),
  ),
  chains: Object.fromEntries([...state.chains].map(([name, { body }]) => [name, body])),
})

/** Log rules as in a network namespace; as on a host they are rendered in the other tests. */
const RENDERING = { logGroup: LOG_GROUP }

type Options = { readonly budget: number; readonly canary: boolean }

class Pipeline {
  readonly calculator: Calculator
  readonly classifier: Classifier
  readonly tracker = new TableTracker(tableState(undefined))
  readonly renderer: TableRenderer

  constructor({ budget, canary }: Options) {
    this.calculator = new Calculator('node0', { canary })
    this.classifier = new Classifier({ budget })
    this.renderer = new TableRenderer(this.tracker, this.calculator, this.classifier, RENDERING)
  }

  #interfaces = [...HOST_INTERFACES.get('node0')!].map(([key, value]) => ({ key, value }))

  apply(changes: readonly Change<ResourceKey, Resource>[]): void {
    const intent = this.calculator.apply(changes, this.#interfaces)
    this.#interfaces = []
    this.renderer.apply(intent, this.classifier.apply(this.calculator, intent))
    this.#write()
  }

  /** What an agent does some time after it made the changes up to an epoch. */
  settle(epoch = this.calculator.epoch): void {
    const intent = this.calculator.settle(epoch)
    this.renderer.apply(intent, this.classifier.apply(this.calculator, intent))
    this.#write()
    this.tracker.wrote(this.tracker.removal([...this.tracker.stale]))
    this.renderer.markUnused()
    this.renderer.forgetUnused()
  }

  /** As if the kernel took every batch. */
  #write(): void {
    const { create, move } = this.tracker.plan()
    for (const batch of [...create, ...move]) this.tracker.wrote(batch)
  }
}

const expected = (view: Snapshot, { budget, canary }: Options): TableState => {
  const intent = computeIntent(view, 'node0', HOST_INTERFACES.get('node0'), { canary })
  return tableState(canonicalTable(policyTable(classify(intent, { budget }), RENDERING)))
}

/** Splits the way from one snapshot to the next into steps, shuffled by the given numbers. */
function* steps(
  from: Snapshot,
  to: Snapshot,
  order: readonly number[],
  size: number,
): Iterable<Change<ResourceKey, Resource>[]> {
  const equal = (a: Resource, b: Resource): boolean => JSON.stringify(a) === JSON.stringify(b)
  const changes = difference(from, to, equal)
  const shuffled = changes
    .map((change, i) => ({ change, rank: order[i % order.length]! * 1000 + i }))
    .sort((a, b) => a.rank - b.rank)
    .map(c => c.change)
  for (let i = 0; i < shuffled.length; i += size) yield shuffled.slice(i, i + size)
}

test('over random histories the incremental table is the recomputed one, whenever things have settled', () => {
  let [compared, settledByEpoch, lingered] = [0, 0, 0]
  fc.assert(
    fc.property(
      fc.array(cluster, { minLength: 1, maxLength: 3 }),
      // Which of them, one after the other: what was before comes back, while it still lingers too.
      fc.array(fc.nat(2), { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(50), { minLength: 5, maxLength: 20 }),
      fc.constantFrom(1, 2, 5, 1000),
      // Small ones cut the tables into parts.
      fc.record({ budget: fc.constantFrom(3, 30, 1_000_000), canary: fc.boolean() }),
      (snapshots, visits, order, size, options) => {
        const history = visits.map(i => snapshots[i % snapshots.length]!)
        const right = (): void => {
          const table = expected(now, options)
          assert.deepEqual(plain(pipeline.tracker.wanted), plain(table))
          assert.deepEqual(plain(pipeline.tracker.found), plain(table))
          // What follows the writes, in whatever order, is what is summed up afterwards.
          assert.deepEqual(
            new Map([...tableSums(pipeline.tracker.found)].sort()),
            new Map([...tableSums(table)].sort()),
          )
        }
        // What lingers only adds: the sets of addresses that the present rules ask for are whole.
        const stillWanted = (): void => {
          const { sets } = computeIntent(now, 'node0', HOST_INTERFACES.get('node0'))
          for (const [id, set] of sets) {
            const live = pipeline.calculator.sets.get(id)
            assert.deepEqual([...(live?.addresses.keys() ?? [])].sort(), [...set.addresses].sort(), id)
          }
        }
        const pipeline = new Pipeline(options)
        let now = new Map<ResourceKey, Resource>()
        // Back to nothing at the end: what was taken must be given back.
        for (const snapshot of [...history, new Map()]) {
          const target = snapshot.size === 0 ? snapshot : derived(snapshot)
          for (const changes of steps(now, target, order, size)) {
            pipeline.apply(changes)
            now = new Map(now)
            for (const { key, value } of changes) {
              if (value) now.set(key, value)
              else now.delete(key)
            }
            compared++
            // Some of it is old enough to be given up while changes go on; what came later lingers.
            const lag = order[(compared + 1) % order.length]! % 6
            if (lag > 0) {
              pipeline.settle(pipeline.calculator.epoch - lag)
              settledByEpoch++
              if (!pipeline.calculator.unsettled) right()
              else {
                lingered++
                stillWanted()
              }
            }
            // In some histories much lingers, as in a busy cluster; in others everything settles at each step.
            if (order[compared % order.length]! % 4 >= order[0]! % 5) continue
            pipeline.settle()
            right()
          }
          now = new Map(target)
          if (order[compared % order.length]! % 2 === 0 && target.size > 0) continue
          pipeline.settle()
          right()
        }
        const left = classify(computeIntent(new Map(), 'node0', undefined, options)).rows.size
        assert.equal(pipeline.classifier.store.rowCount, left)
        assert.equal(pipeline.classifier.atoms.size, 1)
      },
    ),
    { numRuns: Number(process.env.AGREE_RUNS ?? 60) },
  )
  assert.ok(settledByEpoch > 0 && lingered > 0)
  console.log(
    `# ${compared} steps, ${settledByEpoch} times settled by epoch, with something lingering ${lingered} times`,
  )
})
