// Felix's parameters as an environment (`FELIX_LOGPREFIX=x`) and its file (`/etc/calico/felix.cfg`) have them: names without
// regard to case, values as Felix writes them. They become the fields of a FelixConfiguration that nobody stores, which goes
// before all that are stored; the environment goes before the file.
import { failed, ok, type Problem, type Result } from '../base/problem.ts'
import { decodeResource, type FelixConfiguration, type Resource, type ResourceOf } from './resource.ts'
import { unsupported } from './unsupported.ts'

type Spec = FelixConfiguration['spec']
type Field = keyof Spec

/** No name that a stored one could have. */
export const LOCAL_SETTINGS = '(local)'
/** Of a Node: what its agent was told this way, as JSON, so that `why` knows it. No agent acts on it. */
export const PARAMETERS_ANNOTATION = 'gingham.io/felix-parameters'

const PREFIX = 'FELIX_'
/** The word for what is not set; of failsafe ports, for no ports. */
const NONE = 'none'
const FAILSAFES: readonly Field[] = ['failsafeInboundHostPorts', 'failsafeOutboundHostPorts']
/** Those with a bad value Felix does not start with; of all others it takes the default. */
const FATAL: readonly Field[] = [
  ...(['interfacePrefix', 'defaultEndpointToHostAction'] as const),
  ...(['nftablesFilterDenyAction', 'iptablesFilterDenyAction'] as const),
  ...FAILSAFES,
]

export type FelixParameters = {
  /** With an empty spec if nothing with an effect is set. */
  readonly settings: FelixConfiguration
  /** With these the agent must not start. */
  readonly fatal: readonly Problem[]
  /** Values for which the default is taken, lines that cannot be read, and what is set and has no effect. */
  readonly warnings: readonly Problem[]
}

type Given = { readonly place: string; readonly text: string }

/** What the section `global` of the file sets, by names in lower case; lines that cannot be read are told. */
function readFile(file: string, warnings: Problem[]): Map<string, Given> {
  const given = new Map<string, Given>()
  let section = ''
  for (const [index, raw] of file.split(/\r?\n/).entries()) {
    const line = raw.trim()
    const place = `felix.cfg line ${index + 1}`
    if (line === '' || /^[#;]/.test(line)) continue
    const header = /^\[(.*)\]$/.exec(line)
    if (header) {
      section = header[1]!.trim().toLowerCase()
      continue
    }
    const [, name, text = ''] = /^([^=:]+?)\s*[=:]\s*(.*)$/.exec(line) ?? []
    if (name === undefined)
      warnings.push({ path: place, message: `cannot be read: ${line}`, fix: 'write Name = value' })
    else if (section === 'global') given.set(name.toLowerCase(), { place: `${place}, ${name}`, text })
  }
  return given
}

/** What a Node says that its agent was told; nothing, if it says nothing or what it says is no such settings. */
export function parametersOf(node: ResourceOf<'Node'> | undefined): Partial<Spec> {
  const text = node?.metadata.annotations?.[PARAMETERS_ANNOTATION]
  try {
    const fields = Object.entries(Object(JSON.parse(text ?? '{}'))) as [Field, unknown][]
    const results = fields.map(([field, value]) => [field, judged(field, value)] as const)
    return Object.fromEntries(results.flatMap(([field, result]) => (result.ok ? [[field, result.value]] : [])))
  } catch {
    return {}
  }
}

/** The annotation's text for an agent's own settings; none where there are none. */
export const printParameters = ({ spec }: FelixConfiguration): string | undefined =>
  Object.keys(spec).length === 0 ? undefined : JSON.stringify(spec)

/** `env`: of the process. `file`: the text of felix.cfg, if there is one. `used`: the fields that have an effect. */
export function felixParameters(
  { env, file = '' }: { env: Readonly<Record<string, string | undefined>>; file?: string },
  used: readonly Field[],
): FelixParameters {
  const warnings: Problem[] = []
  const given = readFile(file, warnings)
  for (const [name, text] of Object.entries(env))
    if (text !== undefined && name.toUpperCase().startsWith(PREFIX))
      given.set(name.slice(PREFIX.length).toLowerCase(), { place: name, text: text.trim() })

  const fields = new Map<string, Field>(used.map(field => [field.toLowerCase(), field]))
  const spec: Partial<Record<Field, unknown>> = {}
  const fatal: Problem[] = []
  for (const [name, { place, text }] of given) {
    const field = fields.get(name)
    if (field === undefined) warnings.push({ path: place, message: 'has no effect here' })
    else if (text.toLowerCase() !== NONE || FAILSAFES.includes(field)) {
      const value = valueFrom(field, text)
      // An empty text is no value for some.
      if (value.ok) Object.assign(spec, value.value !== undefined && { [field]: value.value })
      else
        for (const { message, fix } of value.problems)
          (FATAL.includes(field) ? fatal : warnings).push({ path: place, message, value: text, ...(fix && { fix }) })
    }
  }
  return {
    settings: { ...HEAD, metadata: { name: LOCAL_SETTINGS }, spec: spec as Spec },
    fatal,
    warnings,
  }
}

const HEAD = { kind: 'FelixConfiguration', apiVersion: 'projectcalico.org/v3' } as const

/** The value of a field, as whatever the schema takes the text for. */
function valueFrom(field: Field, text: string): Result<unknown> {
  if (FAILSAFES.includes(field)) {
    const ports = failsafePorts(text)
    return ports.ok ? judged(field, ports.value) : ports
  }
  // Felix writes what one of several words is in capitals.
  const word = text.charAt(0).toUpperCase() + text.slice(1).toLowerCase()
  const truth = /^(1|y|yes|t|true)$/i.test(text) ? [true] : /^(0|n|no|f|false)$/i.test(text) ? [false] : []
  const number = /^\d+$/.test(text) ? [Number(text)] : []
  const results = [text, ...truth, ...number, word].map(value => judged(field, value))
  return results.find(result => result.ok) ?? results[0]!
}

function judged(field: Field, value: unknown): Result<unknown> {
  const decoded = decodeResource({ ...HEAD, metadata: { name: 'default' }, spec: { [field]: value } })
  const problems = decoded.ok ? unsupported(decoded.value as Resource) : decoded.problems
  return problems.length > 0 ? failed(...problems) : ok((decoded as { value: FelixConfiguration }).value.spec[field])
}

/** `tcp:22`, `udp:10.0.0.0/8:53`, `tcp:[2001:db8::/32]:22`, or a port, which is TCP's; with commas between. */
function failsafePorts(text: string): Result<unknown[]> {
  const ports: unknown[] = []
  for (const entry of text.split(',').map(part => part.trim())) {
    if (entry === '' || entry.toLowerCase() === NONE) continue
    const found = /^(?:(tcp|udp|sctp):)?(?:\[?([0-9a-f.:]+\/\d+)\]?:)?(\d+)$/i.exec(entry)
    if (!found)
      return failed({ path: '', message: `${entry} is no port`, fix: 'write tcp:22, udp:10.0.0.0/8:53 or 22' })
    const [, protocol = 'tcp', net, port] = found
    ports.push({ protocol: protocol.toUpperCase(), port: Number(port), ...(net && { net }) })
  }
  return ok(ports)
}
