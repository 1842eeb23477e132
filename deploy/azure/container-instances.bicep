// The bot in Azure Container Instances: the simplest that runs, for Socket Mode and Discord. After foundation.bicep.
// A group is restarted in place: with two of them, the other goes on meanwhile. For upgrades without a pause, and for Slack
// over HTTP, take container-apps.bicep.
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

@minValue(1)
@maxValue(5)
param groups int = 2

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

resource bots 'Microsoft.ContainerInstance/containerGroups@2025-09-01' = [
  for number in range(1, groups): {
    name: '${name}-${number}'
    location: location
    identity: {
      type: 'UserAssigned'
      userAssignedIdentities: {
        '${identity.id}': {}
      }
    }
    properties: {
      osType: 'Linux'
      restartPolicy: 'Always'
      imageRegistryCredentials: [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
      secretReferences: map(secretNames, secret => {
        name: secret
        identity: identity.id
        secretReferenceUri: '${vault}/${secret}'
      })
      containers: [
        {
          name: 'toolbridge'
          properties: {
            image: '${registry.properties.loginServer}/${image}'
            environmentVariables: concat(
              [
                {
                  name: 'AZURE_CLIENT_ID'
                  value: identity.properties.clientId
                }
                {
                  name: 'DATABASE_URL'
                  value: 'postgresql://${identity.name}@${server.properties.fullyQualifiedDomainName}:5432/toolbridge?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt'
                }
                {
                  name: 'PROCESS_NAME'
                  value: '${name}-${number}'
                }
              ],
              map(items(plain), setting => {
                name: setting.key
                value: setting.value
              }),
              map(secretNames, secret => {
                name: toUpper(replace(secret, '-', '_'))
                secureValueReference: secret
              })
            )
            livenessProbe: {
              httpGet: {
                path: '/healthz'
                port: 8080
                scheme: 'http'
              }
              initialDelaySeconds: 60
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 3
            }
            resources: {
              requests: {
                cpu: 1
                memoryInGB: 1
              }
            }
            volumeMounts: [
              {
                name: 'config'
                mountPath: config
                readOnly: true
              }
            ]
          }
        }
      ]
      volumes: [
        {
          name: 'config'
          secret: {
            'toolbridge.toml': base64(rules)
            'mcp.json': base64(servers)
          }
        }
      ]
      diagnostics: {
        logAnalytics: {
          logType: 'ContainerInstanceLogs'
          workspaceId: logs.properties.customerId
          workspaceKey: logs.listKeys().primarySharedKey
        }
      }
    }
  }
]

output names array = [for number in range(1, groups): '${name}-${number}']
