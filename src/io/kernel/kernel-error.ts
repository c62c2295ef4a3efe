// What the kernel refused: the operation, the object, the errno with its name, and the kernel's own words where it gave some.
// Callers ask the predicates, never the numbers.
import { constants } from 'node:os'

/** Node leaves out a few of Linux's. */
const MISSING = { ERESTART: 85, ESHUTDOWN: 108, EHOSTDOWN: 112 } as const
/** Second names of numbers that have a better known one: EAGAIN, EOPNOTSUPP. */
const ALIASES = ['EWOULDBLOCK', 'ENOTSUP']
const NAMES = new Map<number, string>(
  Object.entries({ ...constants.errno, ...MISSING }).flatMap(([name, n]) =>
    ALIASES.includes(name) ? [] : [[n, name]],
  ),
)

/** `EEXIST` for 17 (and for -17); `errno 1234` for one without a name. */
export const errnoName = (errno: number): string => NAMES.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`

export const ERRNO = constants.errno

export class KernelError extends Error {
  override readonly name = 'KernelError'
  /** What was asked, such as `add route`. */
  readonly op: string
  /** For which object, such as `10.65.0.0/26 dev cali1`; may be empty. */
  readonly object: string
  /** Positive. */
  readonly errno: number
  /** Such as `EEXIST`. */
  readonly code: string
  /** The kernel's extended acknowledgement, or another explanation; may be empty. */
  readonly detail: string

  constructor(op: string, errno: number, where: { readonly object?: string; readonly detail?: string } = {}) {
    const { object = '', detail = '' } = where
    const code = errnoName(errno)
    super(`${op}${object === '' ? '' : ` ${object}`}: ${code}${detail === '' ? '' : ` (${detail})`}`)
    this.op = op
    this.object = object
    this.errno = Math.abs(errno)
    this.code = code
    this.detail = detail
  }

  /** The object is not there (any more). */
  get isMissing(): boolean {
    return ['ENOENT', 'ESRCH', 'ENODEV', 'ENXIO', 'EADDRNOTAVAIL'].includes(this.code)
  }

  /** The object is there already. */
  get isPresent(): boolean {
    return this.code === 'EEXIST'
  }

  /** This kernel does not know what was asked. */
  get isUnsupported(): boolean {
    return ['EOPNOTSUPP', 'EINVAL', 'EPROTONOSUPPORT', 'EAFNOSUPPORT'].includes(this.code)
  }

  /** In use, or the kernel asks to try again. */
  get isBusy(): boolean {
    return ['EBUSY', 'EAGAIN', 'EINTR', 'ERESTART'].includes(this.code)
  }
}
