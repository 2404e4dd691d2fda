// An API that believes nothing but the assertion of the gate in front of it: docs/verify.md.
import { createServer } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

const { PORT = '3000', JWKS_URL, ISSUER, AUDIENCE, JWKS_COOLDOWN = '30', JWKS_TIMEOUT = '5' } = process.env
if (!JWKS_URL || !ISSUER || !AUDIENCE) throw new Error('JWKS_URL, ISSUER and AUDIENCE must be set')

const RULES = {
  algorithms: ['ES256', 'RS256'], // never what the token asks for: no `none`, no HS256 by a public key
  issuer: ISSUER,
  audience: AUDIENCE,
  typ: 'JWT',
  requiredClaims: ['exp', 'sub'],
  clockTolerance: 5,
}

// Kept for ten minutes. A key id that is not in it is looked up again, at most every 30 seconds (JWKS_COOLDOWN).
const keys = createRemoteJWKSet(new URL(JWKS_URL), {
  cacheMaxAge: 600_000,
  cooldownDuration: JWKS_COOLDOWN * 1000,
  timeoutDuration: JWKS_TIMEOUT * 1000,
})

/** The gate's keys cannot be had: nobody's fault, so 503 and not 401. */
class Unavailable extends Error {}
let retryAt = 0

async function key(header, token) {
  if (typeof header.kid !== 'string') throw new errors.JWKSNoMatchingKey()
  const known = keys.fresh && keys.jwks().keys.find((one) => one.kid === header.kid)
  if (known && known.alg !== header.alg) throw new errors.JWKSNoMatchingKey()
  const asks = !known && !keys.coolingDown
  if (asks && Date.now() < retryAt) throw new Unavailable('the key set could not be fetched a moment ago')
  try {
    return await keys(header, token)
  } catch (problem) {
    // A set without a key that can be used says nothing about a token.
    const isEmpty = !keys.jwks()?.keys.some((one) => one.use === 'sig' && RULES.algorithms.includes(one.alg))
    if (!isEmpty && (!asks || problem instanceof errors.JWKSNoMatchingKey)) throw problem
    retryAt = Date.now() + 5_000
    throw new Unavailable('the key set cannot be fetched', { cause: problem })
  }
}

/** Who is calling: the claims of a good assertion. Throws for everybody else. */
async function caller(request) {
  const bearer = /^Bearer ([^ ]+)$/i.exec(request.headers.authorization ?? '')
  const token = request.headers['x-crossgate-assertion'] ?? bearer?.[1]
  if (!token) throw new errors.JWTInvalid('no assertion')
  const { payload } = await jwtVerify(token, key, RULES)
  // One audience, not a list with it; and somebody.
  if (typeof payload.aud !== 'string' || typeof payload.sub !== 'string' || !payload.sub) throw new errors.JWTInvalid('odd claims')
  return payload
}

createServer(async (request, response) => {
  const answer = (status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }
  try {
    const { sub, org = null, role = null } = await caller(request)
    answer(200, { sub, org, role })
  } catch (problem) {
    if (problem instanceof Unavailable) answer(503, { error: 'unavailable' }, { 'retry-after': '5' })
    else answer(401, { error: 'unauthorized' }, { 'www-authenticate': 'Bearer' })
  }
}).listen(Number(PORT), '127.0.0.1')
