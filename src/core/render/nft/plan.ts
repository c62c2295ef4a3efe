// The plan from one whole table to another, for those who have no tracker: both sides are compared in full.
import type { NftOp, NftTable } from '../../nft/objects.ts'
import { type TableState, tableState } from '../../nft/table-state.ts'
import { type Plan, type Stale, TableTracker } from './tracker.ts'

export type WholePlan = Plan & {
  readonly stale: readonly Stale[]
  /** A declared set has another type than it must have: delete the table first; the plan is for an empty kernel. */
  readonly rebuild: boolean
}

function trackerOf(found: TableState, wanted: NftTable): TableTracker {
  const tracker = new TableTracker(found)
  tracker.wantTable(wanted)
  tracker.reset(found)
  return tracker
}

export function planUpdate(found: TableState, wanted: NftTable): WholePlan {
  const tracker = trackerOf(found, wanted)
  if (tracker.needsRebuild) return { ...planUpdate(tableState(undefined), wanted), rebuild: true }
  return { ...tracker.plan(), stale: [...tracker.stale], rebuild: false }
}

/** The batch that removes stale objects of a plan. */
export const removeStale = (found: TableState, stale: readonly Stale[]): NftOp[] =>
  new TableTracker(found).removal(stale)
