// HostEndpoint: an interface of a node itself, or all of them (`*`). Policies that select its labels govern what comes to
// the host through it and what the host sends; with applyOnForward also what passes through.
import { z } from 'zod'
import { ok, type Problem, type Result } from '../../base/problem.ts'
import { address, judgePort, leaf, list, mistake } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'
import { portProtocol } from './workload-endpoint.ts'

/** The interface name that means every interface that is no pod's and has no endpoint of its own. */
export const EVERY_INTERFACE = '*'

const interfaceName = leaf(
  z.string(),
  (value): Result<string | undefined> =>
    value === '' || value === EVERY_INTERFACE || /^[a-zA-Z0-9_.-]{1,15}$/.test(value)
      ? ok(value || undefined)
      : mistake('is not an interface name of at most 15 letters, digits, - _ ., nor *'),
).optional()

const portName = leaf(z.string(), (value): Result<string> => {
  const judged = judgePort(value)
  const isName = judged.ok && typeof judged.value === 'string' && !judged.value.includes(':')
  return isName ? ok(value) : mistake('is not the name of a port: letters, digits, - _ ., not digits alone')
})

const hostPort = z.strictObject({ name: portName, protocol: portProtocol(), port: z.int().min(1).max(65535) })

export const hostEndpoint = calicoKind({
  kind: 'HostEndpoint',
  plural: 'hostendpoints',
  namespaced: false,
  aliases: ['hep', 'heps'],
  schema: z.strictObject({
    ...calicoHead('HostEndpoint'),
    spec: z
      .strictObject({
        node: z.string().max(253).optional(),
        interfaceName,
        /** Addresses by which selectors in rules mean it; without interfaceName also how its interface is found. */
        expectedIPs: list(address()),
        /** Names of profiles, in the order in which they are judged and lend their labels. */
        profiles: list(z.string()),
        ports: list(hostPort),
      })
      .prefault({}),
  }),
  check: ({ spec }) => {
    const problems: Problem[] = []
    if (!spec.node) {
      problems.push({ path: 'spec.node', message: 'is required', fix: 'name the node that has the interface' })
    }
    if (!spec.interfaceName && !spec.expectedIPs?.length) {
      const fix = 'name the interface, or * for all, or give its addresses in expectedIPs'
      problems.push({ path: 'spec.interfaceName', message: 'is required without expectedIPs', fix })
    }
    return problems
  },
})
