// Unpacks a layer into a folder, with the system's tar: what a runtime will see is not what we think we wrote.
import { execFileSync } from 'node:child_process'

export function unpack(archive: Uint8Array, folder: string): void {
  execFileSync('tar', ['-x', '-C', folder], { input: archive, maxBuffer: 1024 * 1024 })
}
