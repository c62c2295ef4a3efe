// Builds the CNI client: one gcc line, static, because it runs on hosts whose C library is not ours.
// Plain JavaScript, because the set-up runs under whatever Node is there.
import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('./client.c', import.meta.url))
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Where the client is built to. */
export const CLIENT = join(ROOT, 'build', 'cni', 'gingham')

/** Builds the client; returns its path. Throws one sentence with the fix. */
export function buildClient() {
  mkdirSync(dirname(CLIENT), { recursive: true })
  // Built beside and renamed, so that a client that runs just now keeps its file.
  const fresh = `${CLIENT}.${process.pid}`
  const flags = ['-std=gnu11', '-Os', '-Wall', '-Wextra', '-Werror', '-static', '-s', '-ffunction-sections', '-Wl,--gc-sections']
  try {
    execFileSync('gcc', [...flags, '-o', fresh, SOURCE], { stdio: ['ignore', 'inherit', 'pipe'] })
  } catch (error) {
    if (error.code === 'ENOENT') throw new Error('There is no C compiler. Run: apt-get install gcc libc6-dev')
    throw new Error(`gcc could not build the CNI client: ${String(error.stderr).trim()}`)
  }
  renameSync(fresh, CLIENT)
  return CLIENT
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${buildClient()}\n`)
