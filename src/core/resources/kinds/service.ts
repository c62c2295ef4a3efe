// Service and EndpointSlice, as far as policies need them: a rule that names a service means the addresses (and ports) in
// the slices that carry its name. The service itself is never matched: its address is gone before policies are asked.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { parseAddr } from '../../net/addr.ts'
import { kubernetesKind } from '../kind.ts'
import { kubernetesHead } from './kubernetes.ts'

/** The label of an EndpointSlice that names its service. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name'

const SERVICE_PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const
const portNumber = z.int().min(1).max(65535)

export const service = kubernetesKind({
  kind: 'Service',
  plural: 'services',
  namespaced: true,
  aliases: ['svc'],
  storePrefix: '/registry/services/specs/',
  schema: z.looseObject({
    ...kubernetesHead('Service', 'v1'),
    spec: z
      .looseObject({
        selector: z.record(z.string(), z.string()).optional(),
        clusterIP: z.string().optional(),
        clusterIPs: z.array(z.string()).optional(),
        ports: z
          .array(
            z.looseObject({
              name: z.string().optional(),
              protocol: z.enum(SERVICE_PROTOCOLS).optional(),
              port: portNumber,
            }),
          )
          .optional(),
        type: z.string().optional(),
        externalName: z.string().optional(),
      })
      .prefault({}),
  }),
})

const ADDRESS_TYPES = ['IPv4', 'IPv6', 'FQDN'] as const

export const endpointSlice = kubernetesKind({
  kind: 'EndpointSlice',
  apiVersion: 'discovery.k8s.io/v1',
  plural: 'endpointslices',
  namespaced: true,
  aliases: [],
  schema: z.looseObject({
    ...kubernetesHead('EndpointSlice', 'discovery.k8s.io/v1'),
    addressType: z.enum(ADDRESS_TYPES),
    /** Conditions are kept and not asked: an endpoint that is not ready, or goes away, counts like any other. */
    endpoints: z.array(z.looseObject({ addresses: z.array(z.string()) })).default([]),
    /** Of every endpoint in the slice. One without a number belongs to no set of addresses and ports. */
    ports: z
      .array(
        z.looseObject({
          name: z.string().optional(),
          protocol: z.enum(SERVICE_PROTOCOLS).optional(),
          port: portNumber.optional(),
        }),
      )
      .optional(),
  }),
  check: ({ addressType, endpoints }) => {
    if (addressType === 'FQDN') return []
    const problems: Problem[] = []
    const wanted = addressType === 'IPv6'
    endpoints.forEach((endpoint, i) => {
      endpoint.addresses.forEach((text, k) => {
        const parsed = parseAddr(text)
        if (parsed !== undefined && parsed.includes(':') === wanted) return
        const path = `endpoints[${i}].addresses[${k}]`
        problems.push({ path, message: `is not an ${addressType} address`, value: text })
      })
    })
    return problems
  },
})
