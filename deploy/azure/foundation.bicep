// What the bot stands on: its identity and that identity's roles, the vault for its tokens, the database that knows no
// passwords, the registry for its image, and the workspace for its logs. Deploy it once, before container-apps.bicep or
// container-instances.bicep; docs/deploy.md has the commands.
targetScope = 'resourceGroup'

@description('Names all resources, and is the name of the bot\'s identity.')
@minLength(3)
@maxLength(16)
param name string = 'toolbridge'

param location string = resourceGroup().location

@description('The Azure OpenAI or Foundry resource that has the model.')
param openAiAccount string

@description('The resource group that it is in.')
param openAiResourceGroup string = resourceGroup().name

@description('Object ID of the person or group in Entra ID that administers the database and fills the vault: az ad signed-in-user show --query id')
param adminObjectId string

@description('Their user principal name, or the name of the group: it is the role with which they sign in.')
param adminName string

@allowed(['User', 'Group', 'ServicePrincipal'])
param adminType string = 'User'

@description('General purpose sizes have more connections: Standard_D2ds_v5 with GeneralPurpose.')
param databaseSku string = 'Standard_B1ms'

@allowed(['Burstable', 'GeneralPurpose', 'MemoryOptimized'])
param databaseTier string = 'Burstable'

@description('A second server in another zone, to which the first fails over; not with Burstable sizes.')
param standby bool = false

@description('Lets any address of Azure reach the database; who signs in is still up to Entra ID. With a network of your own: false, and a private endpoint.')
param openToAzure bool = true

var unique = uniqueString(resourceGroup().id, name)
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
var secretsOfficer = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
var acrPull = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${name}-identity'
  location: location
}

module openAiRole 'openai-role.bicep' = {
  name: '${name}-openai-role'
  scope: resourceGroup(openAiResourceGroup)
  params: {
    account: openAiAccount
    principalId: identity.properties.principalId
  }
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: 'kv-${unique}'
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
  }
}

resource readsSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, secretsUser)
  scope: vault
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
}

resource writesSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, adminObjectId, secretsOfficer)
  scope: vault
  properties: {
    principalId: adminObjectId
    principalType: adminType
    roleDefinitionId: secretsOfficer
  }
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: 'cr${unique}'
  location: location
  sku: {
    name: 'Basic'
  }
  properties: {
    adminUserEnabled: false
  }
}

resource pullsImage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identity.id, acrPull)
  scope: registry
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: acrPull
  }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    retentionInDays: 30
    sku: {
      name: 'PerGB2018'
    }
  }
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: '${name}-${unique}'
  location: location
  sku: {
    name: databaseSku
    tier: databaseTier
  }
  properties: {
    version: '18'
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 14
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: {
      mode: standby ? 'ZoneRedundant' : 'Disabled'
    }
  }
}

// A server takes one change at a time. The database itself is made by its administrator, who can then grant rights on it.
resource fromAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2025-08-01' = if (openToAzure) {
  parent: server
  name: 'AllowAzure'
  properties: {
    startIpAddress: '0.0.0.0' // what Azure itself calls its own addresses
    endIpAddress: '0.0.0.0'
  }
}

resource admin 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: adminObjectId
  properties: {
    principalName: adminName
    principalType: adminType
    tenantId: tenant().tenantId
  }
  dependsOn: [fromAzure]
}

output vaultName string = vault.name
output registryName string = registry.name
output serverName string = server.name
output serverHost string = server.properties.fullyQualifiedDomainName
output identityName string = identity.name
