// Hashes that end up in names which other programs must be able to compute too.
import { sha1 } from '@noble/hashes/legacy.js'
import { sha224 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** SHA-1 in hex; Calico names a pod's host interface by its first 11 digits. */
export const sha1Hex = (text: string): string => bytesToHex(sha1(utf8ToBytes(text)))

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

function base64Url(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i] ?? 0, bytes[i + 1] ?? 0, bytes[i + 2] ?? 0]
    const group = [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63]
    text += group
      .slice(0, Math.min(4, bytes.length - i + 1))
      .map(n => ALPHABET[n])
      .join('')
  }
  return text
}

/** Calico's unique id: `<prefix>:` and the unpadded base64url of SHA-224 over `<prefix>:<content>`. */
export const uniqueId = (prefix: string, content: string): string =>
  `${prefix}:${base64Url(sha224(utf8ToBytes(`${prefix}:${content}`)))}`
