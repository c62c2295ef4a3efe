// The Kubernetes kinds that are inputs. Only the fields that are used are typed; all others are kept untouched, and the
// API server (or the user) answers for them.
import { z } from 'zod'
import { kubernetesKind } from '../kind.ts'

const texts = z.record(z.string(), z.string()).optional()

export const kubernetesHead = <K extends string, V extends string>(kind: K, apiVersion: V) => ({
  kind: z.literal(kind),
  apiVersion: z.literal(apiVersion),
  metadata: z.looseObject({
    name: z.string().default(''),
    namespace: z.string().optional(),
    uid: z.string().optional(),
    resourceVersion: z.string().optional(),
    creationTimestamp: z.string().optional(),
    deletionTimestamp: z.string().optional(),
    labels: texts,
    annotations: texts,
  }),
})

/** The label that the API server gives to every namespace: policies select namespaces by their names with it. */
const NAME_LABEL = 'kubernetes.io/metadata.name'

type Named = {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> | undefined }
}
function named<N extends Named>(resource: N): N {
  const { metadata } = resource
  if (metadata.name === '' || metadata.labels?.[NAME_LABEL] === metadata.name) return resource
  return { ...resource, metadata: { ...metadata, labels: { ...metadata.labels, [NAME_LABEL]: metadata.name } } }
}

export const namespace = kubernetesKind({
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
  aliases: ['ns'],
  schema: z.looseObject(kubernetesHead('Namespace', 'v1')).transform(named),
})

export const serviceAccount = kubernetesKind({
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  namespaced: true,
  aliases: ['sa'],
  schema: z.looseObject(kubernetesHead('ServiceAccount', 'v1')),
})

const container = z.looseObject({
  ports: z
    .array(
      z.looseObject({
        name: z.string().optional(),
        containerPort: z.int().min(1).max(65535),
        hostPort: z.int().min(0).max(65535).optional(),
        hostIP: z.string().optional(),
        protocol: z.string().optional(),
      }),
    )
    .optional(),
})

export const pod = kubernetesKind({
  kind: 'Pod',
  plural: 'pods',
  namespaced: true,
  aliases: ['po'],
  schema: z.looseObject({
    ...kubernetesHead('Pod', 'v1'),
    spec: z
      .looseObject({
        nodeName: z.string().optional(),
        hostNetwork: z.boolean().optional(),
        serviceAccountName: z.string().optional(),
        containers: z.array(container).optional(),
        initContainers: z.array(container).optional(),
      })
      .prefault({}),
    status: z
      .looseObject({
        phase: z.string().optional(),
        podIP: z.string().optional(),
        podIPs: z.array(z.looseObject({ ip: z.string().optional() })).optional(),
      })
      .optional(),
  }),
})
