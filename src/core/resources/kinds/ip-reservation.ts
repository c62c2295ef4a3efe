// IPReservation: addresses that IPAM gives to nobody by itself; who has one of them keeps it.
import { z } from 'zod'
import { type Prefix, parsePrefix } from '../../net/prefix.ts'
import { list, net } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

/** What reservations reserve, all together. */
export const reservedIn = (
  reservations: Iterable<{ readonly spec: { readonly reservedCIDRs?: readonly string[] | undefined } }>,
): Prefix[] =>
  [...reservations].flatMap(({ spec }) => (spec.reservedCIDRs ?? []).flatMap(text => parsePrefix(text) ?? []))

export const ipReservation = calicoKind({
  kind: 'IPReservation',
  plural: 'ipreservations',
  namespaced: false,
  aliases: ['reservation', 'reservations'],
  schema: z.strictObject({
    ...calicoHead('IPReservation'),
    spec: z.strictObject({ reservedCIDRs: list(net()) }).prefault({}),
  }),
})
