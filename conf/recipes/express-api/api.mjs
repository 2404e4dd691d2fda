// The API as it was before: Express, and tokens that it signs and checks itself. It knows neither Clerk nor crossgate.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import express from 'express'

const secret = readFileSync(process.env.SECRET_FILE ?? 'legacy.secret', 'utf8').trim()
const sign = (text) => createHmac('sha256', secret).update(text).digest()

/** What express-jwt does, in a few lines. */
function authenticate(request, response, next) {
  const [head, claims, tag] = (request.get('authorization') ?? '').replace(/^Bearer /, '').split('.')
  const [sent, right] = [Buffer.from(tag ?? '', 'base64url'), sign(`${head}.${claims}`)]
  if (sent.length !== right.length || !timingSafeEqual(sent, right)) return response.status(401).json({ error: 'no token of ours' })
  request.user = JSON.parse(Buffer.from(claims, 'base64url'))
  if (!(request.user.exp > Date.now() / 1000)) return response.status(401).json({ error: 'expired' })
  next()
}

const app = express()
app.get('/healthz', (_, response) => response.json({ ok: true }))
app.get('/api/orders', authenticate, (request, response) => {
  const { sub, org, role } = request.user
  response.json({ user: sub, org, role, orders: [] })
})
app.post('/api/orders', authenticate, (request, response) => response.status(201).json({ by: request.user.sub }))
app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1')
