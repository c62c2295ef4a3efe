// Text of users inside BIRD's configuration language. Its strings run from one double quote to the next and know no escape,
// so what cannot stand in one is replaced where it is for reading, and refused where it has a meaning.

const BREAKS_OUT = /["\\\n\r]|[^\x20-\x7e]/

/** A string for people to read: what cannot stand in it becomes a question mark, and it ends after 200 characters. */
export const quoteText = (text: string): string => `"${replace(text).slice(0, 200)}"`

/** A pattern of interface names. BIRD reads `?` as any one character, so a replaced character still matches itself. */
export const quotePattern = (pattern: string): string => `"${replace(pattern)}"`

const replace = (text: string): string => [...text].map(c => (BREAKS_OUT.test(c) ? '?' : c)).join('')

/** Whether a text can stand in a string as it is. */
export const isQuotable = (text: string): boolean => !BREAKS_OUT.test(text)

/** A string that must arrive as it is; that it can was to be checked before. */
export function quoteExactly(text: string): string {
  if (!isQuotable(text)) throw new Error('this text cannot be written into the configuration of BIRD')
  return `"${text}"`
}
