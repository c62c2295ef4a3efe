// Logs: one JSON line an event (pino), to standard error or to a file that is rotated by size, so that no disk is ever
// filled. Written synchronously: the last line before a crash is the one that matters.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import path from 'node:path'
import pino, { type Logger } from 'pino'

export type { Logger } from 'pino'

export type LogOptions = {
  /** What speaks: `agent`, `datastore`. */
  readonly name: string
  readonly level?: string
  /** Without a file the lines go to standard error. */
  readonly file?: string
  /** A file that would grow past this is renamed to `.1`, the one before to `.2`, up to `keep`. */
  readonly maxBytes?: number
  readonly keep?: number
}

class RotatingFile {
  readonly #file: string
  readonly #maxBytes: number
  readonly #keep: number
  #fd: number
  #size: number

  constructor(file: string, maxBytes: number, keep: number) {
    this.#file = file
    this.#maxBytes = maxBytes
    this.#keep = keep
    mkdirSync(path.dirname(file), { recursive: true })
    this.#fd = openSync(file, 'a')
    this.#size = fstatSync(this.#fd).size
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#size > 0 && this.#size + bytes > this.#maxBytes) this.#rotate()
    writeSync(this.#fd, line)
    this.#size += bytes
  }

  #rotate(): void {
    closeSync(this.#fd)
    for (let n = this.#keep - 1; n >= 1; n--) rename(`${this.#file}.${n}`, `${this.#file}.${n + 1}`)
    rename(this.#file, `${this.#file}.1`)
    this.#fd = openSync(this.#file, 'a')
    this.#size = 0
  }
}

function rename(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

export function openLog({ name, level = 'info', file, maxBytes = 10 * 1024 * 1024, keep = 3 }: LogOptions): Logger {
  const options = { name, level, base: { name, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }
  return pino(options, file ? new RotatingFile(file, maxBytes, keep) : pino.destination({ fd: 2, sync: true }))
}
