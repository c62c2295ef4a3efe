// CNI_ARGS: `KEY=value;KEY=value`, what a runtime tells beside the configuration. Kubernetes names the pod this way.
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { type Addr, parseAddr } from '../net/addr.ts'

export type CniArgs = {
  /** Absent: the container is no Kubernetes pod. Both or neither are there. */
  readonly pod?: { readonly namespace: string; readonly name: string }
  /** The pod's uid and its sandbox, as the runtime knows them. */
  readonly podUid?: string
  readonly infraContainerId?: string
  /** An address asked for (calico-ipam's own argument). */
  readonly ip?: Addr
}

const TRUE: readonly string[] = ['1', 'true', 'TRUE', 'True', 't', 'T']
const KNOWN: readonly string[] = [
  ...['IgnoreUnknown', 'IP', 'K8S_POD_NAMESPACE', 'K8S_POD_NAME', 'K8S_POD_INFRA_CONTAINER_ID', 'K8S_POD_UID'],
]

/** Unknown keys are mistakes unless `IgnoreUnknown` is set, as in libcni; the last of equal keys counts. */
export function parseArgs(text: string): Result<CniArgs> {
  const values = new Map<string, string>()
  const problems: Problem[] = []
  const bad = (key: string, message: string, value?: string) =>
    problems.push({
      path: key === '' ? 'CNI_ARGS' : `CNI_ARGS ${key}`,
      message,
      ...(value === undefined ? {} : { value }),
    })
  for (const pair of text.split(';')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    if (equals <= 0) bad('', `has ${JSON.stringify(pair)}, which is not KEY=value`, pair)
    else values.set(pair.slice(0, equals), pair.slice(equals + 1))
  }
  if (!TRUE.includes(values.get('IgnoreUnknown') ?? '')) {
    for (const key of values.keys()) if (!KNOWN.includes(key)) bad(key, 'is not known, and IgnoreUnknown is not set')
  }
  const get = (key: string): string | undefined => values.get(key) || undefined
  const [namespace, name] = [get('K8S_POD_NAMESPACE'), get('K8S_POD_NAME')]
  if ((namespace === undefined) !== (name === undefined)) {
    bad(name === undefined ? 'K8S_POD_NAME' : 'K8S_POD_NAMESPACE', 'is required beside the other one')
  }
  for (const [key, value] of [
    ['K8S_POD_NAMESPACE', namespace],
    ['K8S_POD_NAME', name],
  ] as const) {
    // RFC 1123 names: nothing else may become part of a datastore key.
    if (value !== undefined && !/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(value)) bad(key, 'is not a name', value)
  }
  const ipText = get('IP')
  const ip = ipText === undefined ? undefined : parseAddr(ipText)
  if (ipText !== undefined && ip === undefined) bad('IP', 'is not an IP address', ipText)
  if (problems.length > 0) return failed(...problems)
  const [podUid, infraContainerId] = [get('K8S_POD_UID'), get('K8S_POD_INFRA_CONTAINER_ID')]
  return ok({
    ...(namespace !== undefined && name !== undefined ? { pod: { namespace, name } } : {}),
    ...(podUid === undefined ? {} : { podUid }),
    ...(infraContainerId === undefined ? {} : { infraContainerId }),
    ...(ip === undefined ? {} : { ip }),
  })
}
