// How eagerly garbage is collected. While a large list comes in, nearly all that is made is garbage at once; V8 would let the
// heap grow to several times of what stays, and never quite give it back.
import { setFlagsFromString } from 'node:v8'

/** The heap may grow by so much of what is in use until it is collected; V8's own rule is up to four times. */
const FRUGAL_PERCENT = 20

/** Memory before time, or V8's own rule again. For the whole process. */
export const frugalHeap = (frugal: boolean): void =>
  setFlagsFromString(`--heap-growing-percent=${frugal ? FRUGAL_PERCENT : 0}`)
