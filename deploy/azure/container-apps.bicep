// The bot in Azure Container Apps: two replicas, upgraded without a pause. After foundation.bicep.
targetScope = 'resourceGroup'

@description('As for foundation.bicep.')
param name string = 'toolbridge'

param location string = resourceGroup().location

@description('The image in the registry of foundation.bicep.')
param image string = 'toolbridge:0.1.0'

@description('https://my-resource.openai.azure.com')
param openAiEndpoint string

param openAiDeployment string

@description('Secrets of the vault that become settings: slack-bot-token is SLACK_BOT_TOKEN. Add those that mcp.json names as \${VAR}.')
param secretNames array = ['toolbridge-secret-key', 'slack-bot-token', 'slack-app-token']

@description('Other settings: {"RETENTION_DAYS": "30"}')
param settings object = {}

@description('The rules: --parameters rules="$(cat toolbridge.toml)"')
param rules string = loadTextContent('../config/toolbridge.toml')

@description('The tool servers: --parameters servers="$(cat mcp.json)"')
param servers string = loadTextContent('../config/mcp.json')

@description('Takes Slack\'s events at the app\'s address, and needs slack-signing-secret in place of slack-app-token. False: Socket Mode and Discord, which need no address.')
param slackOverHttp bool = false

@minValue(1)
@maxValue(10)
param replicas int = 2

var unique = uniqueString(resourceGroup().id, name)
var config = '/etc/toolbridge'
var vault = 'https://kv-${unique}${az.environment().suffixes.keyvaultDns}/secrets'
var plain = union(
  {
    AZURE_OPENAI_ENDPOINT: openAiEndpoint
    AZURE_OPENAI_DEPLOYMENT: openAiDeployment
    DATABASE_AUTH: 'entra'
    TOOLBRIDGE_CONFIG: '${config}/toolbridge.toml'
    MCP_CONFIG: '${config}/mcp.json'
  },
  settings
)
var ingress = {
  external: true
  allowInsecure: false
  targetPort: 8080
  transport: 'http'
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: '${name}-identity'
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' existing = {
  name: 'cr${unique}'
}

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {
  name: '${name}-logs'
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' existing = {
  name: '${name}-${unique}'
}

resource apps 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: '${name}-apps'
  location: location
  properties: {
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

resource bot 'Microsoft.App/containerApps@2025-07-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: apps.id
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: slackOverHttp ? ingress : null
      registries: [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
      secrets: concat(
        map(secretNames, secret => {
          name: secret
          keyVaultUrl: '${vault}/${secret}'
          identity: identity.id
        }),
        [
          {
            name: 'rules'
            value: rules
          }
          {
            name: 'servers'
            value: servers
          }
        ]
      )
    }
    template: {
      terminationGracePeriodSeconds: 60
      containers: [
        {
          name: 'toolbridge'
          image: '${registry.properties.loginServer}/${image}'
          env: concat(
            [
              {
                name: 'AZURE_CLIENT_ID'
                value: identity.properties.clientId
              }
              {
                name: 'DATABASE_URL'
                value: 'postgresql://${identity.name}@${server.properties.fullyQualifiedDomainName}:5432/toolbridge?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt'
              }
            ],
            map(items(plain), setting => {
              name: setting.key
              value: setting.value
            }),
            map(secretNames, secret => {
              name: toUpper(replace(secret, '-', '_'))
              secretRef: secret
            })
          )
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/healthz'
                port: 8080
              }
              periodSeconds: 5
              timeoutSeconds: 5
              failureThreshold: 10
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/healthz'
                port: 8080
              }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 3
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readyz'
                port: 8080
              }
              periodSeconds: 5
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            {
              volumeName: 'config'
              mountPath: config
            }
          ]
        }
      ]
      // Not to zero, and not by HTTP requests: the bot holds its own connections to Slack and Discord.
      scale: {
        minReplicas: replicas
        maxReplicas: replicas
      }
      volumes: [
        {
          name: 'config'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'rules'
              path: 'toolbridge.toml'
            }
            {
              secretRef: 'servers'
              path: 'mcp.json'
            }
          ]
        }
      ]
    }
  }
}

output address string = slackOverHttp ? 'https://${bot.properties.configuration.ingress.fqdn}' : ''
