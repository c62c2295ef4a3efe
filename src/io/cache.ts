// The folder for what is fetched or built once and used by every checkout: outside the tree, and safe to delete.
import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** `GINGHAM_CACHE`, else `/var/cache/gingham`, or below the home of somebody who may not write there. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.GINGHAM_CACHE) return env.GINGHAM_CACHE
  return isWritable('/var/cache') ? '/var/cache/gingham' : join(homedir(), '.cache', 'gingham')
}
