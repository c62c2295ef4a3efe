// Sums that say whether two sides hold the same, without order, and that follow each change at its own cost: of a set's elements,
// and of a table's chains. Who reads the kernel in another thread sends a few of them and not what it read.
// No defence against somebody who looks for collisions: who may write the ruleset need not look for any.

/** Two sums of 32 bits each, modulo 2^32. */
export type Sum = { a: number; b: number }

/** Puts a text in (`times` 1) or takes it out again (-1). Hashes are FNV-1a and a multiplicative one, over UTF-16 units. */
export function count(sum: Sum, text: string, times: 1 | -1): void {
  let [a, b] = [0x811c9dc5, 0x9e3779b9]
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul((b << 13) | (b >>> 19), 0x85ebca6b) + unit
  }
  sum.a = (sum.a + times * (a >>> 0)) >>> 0
  sum.b = (sum.b + times * (Math.imul(b ^ (b >>> 15), 0xc2b2ae35) >>> 0)) >>> 0
}

export const printSum = ({ a, b }: Sum): string => `${a.toString(16)}:${b.toString(16)}`
