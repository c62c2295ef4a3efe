// The compiler as it is.
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify, outcomesAt } from '../../src/core/classify/classify.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import type { Compiler } from './judges.ts'

export const COMPILER: Compiler = { computeIntent, classify, outcomesAt, policyTable }
