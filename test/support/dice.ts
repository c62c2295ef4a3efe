// Numbers by chance from a seed, without a state that anybody shares.

/** Numbers below n. */
export type Dice = (n: number) => number

export function dice(seed: number): Dice {
  let state = seed >>> 0
  return n => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

export const pick = <T>(d: Dice, list: readonly T[]): T => list[d(list.length)]!
