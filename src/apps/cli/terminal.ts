// Where a command reads and writes. Commands get it handed in, so that tests can look at what a person would see.

export type Terminal = {
  /** Results: what a script may read. */
  readonly out: (text: string) => void
  /** Everything said to a person: summaries, warnings, errors. */
  readonly err: (text: string) => void
  readonly stdin: NodeJS.ReadableStream
}

/** The command failed: its message goes to stderr, after whatever was printed before, and the exit code is 1. */
export class CommandError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CommandError'
  }
}
