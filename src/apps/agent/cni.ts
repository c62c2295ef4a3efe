// The CNI plugin's work, done in the agent: the client program only carries bytes. One call is one request decoded by
// core/cni, one verb run, one text printed; every failure comes out in CNI's own form.
import { CNI_ERROR, CniError, printError } from '../../core/cni/error.ts'
import { handleOf } from '../../core/cni/handle.ts'
import { HOST_LOCAL } from '../../core/cni/host-local.ts'
import {
  type AddRequest,
  type CniHeaders,
  type CniRequest,
  decodeRequest,
  type NetworkRequest,
} from '../../core/cni/request.ts'
import { addressesOn, printResult } from '../../core/cni/result.ts'
import { type CniVersion, printVersions } from '../../core/cni/version.ts'
import { add } from './cni-add.ts'
import { type AddressSource, poolSource } from './cni-addresses.ts'
import { check } from './cni-check.ts'
import { containerWorkload } from './cni-container.ts'
import { type CniDeps, requireReady, stepError, type Workload } from './cni-deps.ts'
import { requireGates } from './cni-gates.ts'
import { askAboutNetwork, hostLocalSource } from './cni-host-local.ts'
import { KeyedLock } from './cni-lock.ts'
import { podWorkload } from './cni-pod.ts'
import { collectGarbage, type Gone, remove } from './cni-remove.ts'

export type { CniDeps } from './cni-deps.ts'

/** `ok` decides the client's exit code; `body` is what it prints. */
export type CniAnswer = { readonly ok: boolean; readonly body: string }

/** Work for one pod goes in turn: its containers share the host's end and the annotations. */
const lockKey = ({ pod, containerId }: Pick<Gone, 'pod' | 'containerId'>): string =>
  pod === undefined ? containerId : `${pod.namespace}/${pod.name}`

export class CniService {
  readonly #deps: CniDeps
  readonly #lock = new KeyedLock()

  constructor(deps: CniDeps) {
    this.#deps = deps
  }

  /** Never rejects. Headers have lower-case names. */
  async handle(headers: CniHeaders, body: string): Promise<CniAnswer> {
    const decoded = decodeRequest(headers, body)
    if (!decoded.ok) return this.#failure(decoded.error, { version: decoded.version })
    const request = decoded.value
    const started = this.#deps.now().getTime()
    try {
      const answer = await this.#run(request)
      this.#deps.log.info({ ...describe(request), ms: this.#deps.now().getTime() - started }, `CNI ${request.command}`)
      return { ok: true, body: answer }
    } catch (error) {
      const failure = stepError(`${request.command} failed`, error)
      if (!(error instanceof CniError)) this.#deps.log.error({ err: error }, 'an unexpected error in a CNI request')
      return this.#failure(failure, request)
    }
  }

  #failure(error: CniError, about: { readonly version: CniVersion } | CniRequest): CniAnswer {
    const fields = 'command' in about ? describe(about) : {}
    this.#deps.log.warn({ ...fields, code: error.code, details: error.details }, `CNI: ${error.message}`)
    return { ok: false, body: printError(error, about.version) }
  }

  /** The text to print. */
  async #run(request: CniRequest): Promise<string> {
    switch (request.command) {
      case 'VERSION':
        return printVersions(request.version)
      case 'STATUS':
        await this.#status(request)
        return ''
      case 'GC':
        this.#checkNode(request)
        await collectGarbage(this.#deps, request, (gone, work) => this.#lock.run(lockKey(gone), work))
        await askAboutNetwork(this.#deps, request)
        return ''
      case 'ADD':
        this.#checkNode(request)
        await requireGates(request.config, this.#deps)
        return this.#lock.run(lockKey(goneOf(request)), async () => {
          const [findWorkload, source] = [() => this.#workload(request), this.#source(request)]
          const result = await add(this.#deps, request, { findWorkload, source })
          return printResult(result, request.version)
        })
      case 'CHECK':
        this.#checkNode(request)
        await this.#lock.run(lockKey(goneOf(request)), () => check(this.#deps, request, this.#source(request)))
        return ''
      case 'DEL':
        this.#checkNode(request)
        await this.#lock.run(lockKey(goneOf(request)), () => remove(this.#deps, goneOf(request), this.#source(request)))
        return ''
    }
  }

  #source(request: Extract<CniRequest, { attachment: unknown }>): AddressSource {
    const handle = handleOf(request.config.name, request.attachment.containerId)
    return request.config.ipam === HOST_LOCAL
      ? hostLocalSource(this.#deps, request, handle)
      : poolSource(this.#deps, handle)
  }

  async #workload(request: AddRequest): Promise<Workload> {
    const { pod } = request.attachment.args
    return pod === undefined ? containerWorkload(this.#deps, request) : podWorkload(this.#deps, pod, request)
  }

  async #status(request: NetworkRequest): Promise<void> {
    try {
      this.#checkNode(request)
      await requireGates(request.config, this.#deps)
      await requireReady(this.#deps)
      await askAboutNetwork(this.#deps, request)
    } catch (error) {
      const { message, details } = stepError('not ready', error)
      throw new CniError(CNI_ERROR.NOT_AVAILABLE, message, details)
    }
  }

  /** A configuration that was made for another node would give that node's addresses here. */
  #checkNode(request: CniRequest): void {
    if (request.command === 'VERSION' || request.config.node === undefined) return
    const { node } = request.config
    if (node === this.#deps.node) return
    const message = `the network configuration is for node ${node}, this agent is node ${this.#deps.node}`
    throw new CniError(CNI_ERROR.INVALID_CONFIG, message)
  }
}

function goneOf({ config, attachment, prevResult }: Extract<CniRequest, { attachment: unknown }>): Gone {
  const { containerId, ifName, netns, args } = attachment
  const told = prevResult ? addressesOn(prevResult, { name: ifName, sandbox: netns }) : []
  return { network: config.name, containerId, pod: args.pod, told }
}

function describe(request: CniRequest): Readonly<Record<string, string | undefined>> {
  if (!('attachment' in request)) return { command: request.command }
  const { containerId, ifName, args } = request.attachment
  const pod = args.pod && `${args.pod.namespace}/${args.pod.name}`
  return { command: request.command, containerId, ifName, ...(pod === undefined ? {} : { pod }) }
}
